"""An answer, what ends it, and the random stream it is drawn with."""

from dataclasses import dataclass

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


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every id that ends an answer: the tokenizer's EOS and those of the model's generation config."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    # An instruct model may end a turn with another id than the tokenizer's EOS, and names both here.
    more = configured if isinstance(configured, list) else [configured]
    return {eos_id(tokenizer), *(id for id in more if id is not None)}


def stream_seed(seed: int, id: str) -> int:
    """Seed of one sample's random stream."""
    return int(np.random.SeedSequence([seed, int(id, 16)]).generate_state(1, np.uint64)[0])


def answer_of(ids: list[int], stops: set[int], tokenizer: PreTrainedTokenizerBase) -> Answer:
    """The answer that these ids are, the last of which may be one of `stops`."""
    cut = ids[-1] not in stops
    return Answer(text_of(ids if cut else ids[:-1], tokenizer), ids, cut)
