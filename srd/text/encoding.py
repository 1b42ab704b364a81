"""Text to ids and back: the only place that knows where prompts end and responses begin."""

from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from srd.config import Text
from srd.errors import UserError
from srd.runtime.progress import say
from srd.store.rows import Sample
from srd.text.prompts import TEMPLATES


@dataclass(frozen=True)
class Encoded:
    """A sample as ids: the response ends in EOS unless the length limit cut it."""

    id: str
    prompt: list[int]
    response: list[int]
    prompt_was_cut: bool
    by_student: bool = False
    """Whether the student wrote the response: no reference then, so no cross-entropy."""

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.response)


def encode(sample: Sample, tokenizer: PreTrainedTokenizerBase, text: Text) -> Encoded:
    """The ids of a sample's prompt and of its (first) reference with EOS.

    Prompt and response are tokenised as one text where the boundary survives that, else apart, so
    that a generated answer always continues exactly these prompt ids. Of a prompt over
    `max_prompt_tokens` the tail stays, with the end of the template.
    """
    prompt = TEMPLATES[text.template](sample, tokenizer)
    response = sample.references[0]
    prompt_ids = encode_text(prompt, tokenizer)
    joint_ids = encode_text(prompt + response, tokenizer)
    joins = joint_ids[: len(prompt_ids)] == prompt_ids
    response_ids = joint_ids[len(prompt_ids) :] if joins else encode_text(response, tokenizer)
    kept = prompt_ids[-text.max_prompt_tokens :]
    room = text.max_tokens - len(kept)
    return Encoded(sample.id, kept, [*response_ids, eos_id(tokenizer)][:room], len(kept) < len(prompt_ids))


def encode_all(samples: Iterable[Sample], tokenizer: PreTrainedTokenizerBase, text: Text) -> list[Encoded]:
    """Every sample encoded; says how many prompts were over the limit."""
    rows = [encode(sample, tokenizer, text) for sample in samples]
    cut = sum(row.prompt_was_cut for row in rows)
    if cut:
        say(
            f"{cut} of {len(rows)} prompts are over model.max_prompt_tokens={text.max_prompt_tokens}; "
            f"their last {text.max_prompt_tokens} tokens are kept"
        )
    return rows


def longest_first(
    samples: list[Sample], tokenizer: PreTrainedTokenizerBase, text: Text
) -> list[tuple[Sample, Encoded]]:
    """Samples with their ids, longest prompt first, so that prompts answered together are of like length."""
    pairs = zip(samples, encode_all(samples, tokenizer, text), strict=True)
    return sorted(pairs, key=lambda pair: (-len(pair[1].prompt), pair[0].id))


def eos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The end-of-sequence id, which every response is trained to end with."""
    if tokenizer.eos_token_id is None:
        raise UserError(f"tokenizer of {tokenizer.name_or_path}: no EOS token; add one to its tokenizer_config.json")
    return int(tokenizer.eos_token_id)  # pyright: ignore[reportArgumentType]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """An id to fill with; EOS where there is none, which is safe because masks never look at ids."""
    return int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else eos_id(tokenizer)  # pyright: ignore[reportArgumentType]


def text_of(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of an answer, without special tokens and outer white space."""
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()


def encode_text(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of a text as it stands, without special tokens."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportReturnType]
