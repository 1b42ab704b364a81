"""Text to tensors: the only place that knows prompts end where responses begin, and what padding is.

Axes: B sequences, T padded tokens, N supervised positions of the batch.

Masks come from lengths, never from comparing ids, so a pad id that equals EOS changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from srd.config import Model
from srd.errors import UserError
from srd.prompts import TEMPLATES
from srd.runtime.progress import say
from srd.store.rows import Sample

BATCH_SHARE = 64
"""Starting one more batch is worth this part of the largest one's padded tokens: the larger a device can take, the more
it loses."""


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


@dataclass(frozen=True)
class Batch:
    """Padded sequences with their supervised positions.

    `supervised[b, t]` holds where the logits at t predict a response token or EOS; `places` [N] are those positions
    in a flattened [B * T], `targets` [N] the tokens there, and `referenced` [N] those of them that a reference gave.
    `rows` are the sequences it was made of.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    supervised: Tensor
    places: Tensor
    targets: Tensor
    referenced: Tensor
    rows: tuple[Encoded, ...]

    def to(self, device: torch.device) -> "Batch":
        return replace(
            self,
            **{
                name: value.to(device, non_blocking=True)
                for name, value in vars(self).items()
                if isinstance(value, Tensor)
            },
        )


def encode(sample: Sample, tokenizer: PreTrainedTokenizerBase, model: Model) -> Encoded:
    """The ids of a sample's prompt and of its (first) reference with EOS.

    Prompt and response are tokenised as one text where the boundary survives that, else apart, so
    that a generated answer always continues exactly these prompt ids. Of a prompt over
    `max_prompt_tokens` the tail stays, with the end of the template.
    """
    prompt = TEMPLATES[model.template](sample, tokenizer)
    response = sample.references[0]
    prompt_ids = encode_text(prompt, tokenizer)
    joint_ids = encode_text(prompt + response, tokenizer)
    joins = joint_ids[: len(prompt_ids)] == prompt_ids
    response_ids = joint_ids[len(prompt_ids) :] if joins else encode_text(response, tokenizer)
    kept = prompt_ids[-model.max_prompt_tokens :]
    room = model.max_tokens - len(kept)
    return Encoded(sample.id, kept, [*response_ids, eos_id(tokenizer)][:room], len(kept) < len(prompt_ids))


def encode_all(samples: Iterable[Sample], tokenizer: PreTrainedTokenizerBase, model: Model) -> list[Encoded]:
    """Every sample encoded; says how many prompts were over the limit."""
    rows = [encode(sample, tokenizer, model) for sample in samples]
    cut = sum(row.prompt_was_cut for row in rows)
    if cut:
        say(
            f"{cut} of {len(rows)} prompts are over model.max_prompt_tokens={model.max_prompt_tokens}; "
            f"their last {model.max_prompt_tokens} tokens are kept"
        )
    return rows


def longest_first(
    samples: list[Sample], tokenizer: PreTrainedTokenizerBase, model: Model
) -> list[tuple[Sample, Encoded]]:
    """Samples with their ids, longest prompt first, so that prompts answered together are of like length."""
    pairs = zip(samples, encode_all(samples, tokenizer, model), strict=True)
    return sorted(pairs, key=lambda pair: (-len(pair[1].prompt), pair[0].id))


def collate(rows: list[Encoded], pad_id: int, side: str = "right") -> Batch:
    """One padded batch of whole sequences; `side` is where the padding goes and changes no result."""
    width = max(row.num_tokens for row in rows)
    input_ids = torch.full((len(rows), width), pad_id)
    attention_mask = torch.zeros(len(rows), width, dtype=torch.long)
    supervised = torch.zeros(len(rows), width, dtype=torch.bool)
    for b, row in enumerate(rows):
        start = 0 if side == "right" else width - row.num_tokens
        input_ids[b, start : start + row.num_tokens] = torch.tensor(row.prompt + row.response)
        attention_mask[b, start : start + row.num_tokens] = 1
        first = start + len(row.prompt) - 1
        supervised[b, first : first + len(row.response)] = True
    places = supervised.flatten().nonzero().squeeze(1)  # found here, because a GPU would have to be waited for
    targets = input_ids.roll(-1, dims=1).flatten()[places]
    referenced = torch.tensor([not row.by_student for row in rows for _ in row.response])
    return Batch(
        input_ids, attention_mask, positions(attention_mask), supervised, places, targets, referenced, tuple(rows)
    )


def positions(attention_mask: Tensor) -> Tensor:
    """Position of every token in its own sequence: attention_mask [B, T] → [B, T], padding on either side."""
    return (attention_mask.cumsum(1) - 1).clamp(min=0)


def pack(rows: list[Encoded], max_tokens: int) -> list[list[Encoded]]:
    """Rows cut into batches of similar length, each of at most `max_tokens` padded tokens (or one row).

    Of all ways to cut the rows, longest first, the one with the fewest padded tokens, where a batch counts as
    `max_tokens` / `BATCH_SHARE` more: what it costs to start another.
    """
    rows = sorted(rows, key=lambda row: (-row.num_tokens, row.id))
    lengths = np.array([row.num_tokens for row in rows])
    least, cut = np.zeros(len(rows) + 1), [0] * (len(rows) + 1)
    low = 0
    for end in range(1, len(rows) + 1):
        while low < end - 1 and lengths[low] * (end - low) > max_tokens:
            low += 1
        costs = least[low:end] + lengths[low:end] * (end - np.arange(low, end))
        best = int(np.argmin(costs))
        least[end], cut[end] = costs[best] + max_tokens / BATCH_SHARE, low + best
    batches: list[list[Encoded]] = []
    end = len(rows)
    while end > 0:
        batches.append(rows[cut[end] : end])
        end = cut[end]
    return batches[::-1]


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


def train_bpe(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE of `vocabulary` tokens with `<pad>` and `<eos>`; the same for the same texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>", pad_token="<pad>")
