"""An answer, what ends it, and the random stream it is drawn with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.text.encoding import eos_id, text_of


@dataclass(frozen=True)
class Answer:
    """A decoded answer; `cut` where the length limit ended it, `ids` with its EOS where not."""

    text: str
    ids: list[int]
    cut: bool

    @property
    def tokens(self) -> int:
        return len(self.ids)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *more: int) -> set[int]:
    """Every id that ends an answer: the tokenizer's EOS and those of the model's generation config, among them the
    template's end of a turn (`tell_stops`), and `more`."""
    # An instruct model may end a turn with another id than the tokenizer's EOS, and names both here.
    named = getattr(model.generation_config, "eos_token_id", None)
    ends = [tokenizer.eos_token_id, *(named if isinstance(named, list) else [named]), *more]
    return {int(id) for id in ends if id is not None} or {eos_id(tokenizer)}


def tell_stops(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, end: int) -> None:
    """Write all that ends an answer, `end` among it, into the model's generation config, which its exports carry:
    whoever generates with them stops where we do."""
    configuration: Any = model.generation_config
    stops = sorted(stop_ids(model, tokenizer, end))
    configuration.eos_token_id = stops if len(stops) > 1 else stops[0]
    # What is marked as taken from the model's config, transformers may take from there again.
    configuration._from_model_config = False


def stream_seed(seed: int, id: str) -> int:
    """Seed of one sample's random stream."""
    return int(np.random.SeedSequence([seed, int(id, 16)]).generate_state(1, np.uint64)[0])


def answer_of(ids: list[int], stops: set[int], tokenizer: PreTrainedTokenizerBase) -> Answer:
    """The answer that these ids are, the last of which may be one of `stops`."""
    cut = ids[-1] not in stops
    return Answer(text_of(ids if cut else ids[:-1], tokenizer), ids, cut)
