"""Rows of ids to padded batches with their supervised positions, and which rows share a batch.

Axes: B sequences, T padded tokens, N supervised positions of the batch.

Masks come from lengths, never from comparing ids, so a pad id that equals EOS changes nothing.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srd.runtime import processes
from srd.text.encoding import Encoded

# A forward and backward pass has a cost that does not depend on its size: kernels are launched, gradients of the whole
# model are added up. It is counted in padded tokens, as a share of the budget and not as a fixed number, because a
# device that is given a large budget computes a token fast: the same overhead is worth more tokens to it.
BATCH_SHARE = 64
"""One more batch costs as much as 1/64 of the largest batch's padded tokens."""


@dataclass(frozen=True)
class Batch:
    """Padded sequences with their supervised positions.

    `supervised[b, t]` holds where the logits at t predict a response token or EOS that is learned; `positions` [N] are
    those positions in a flattened [B * T], `labels` [N] the tokens there, `referenced` [N] those of them that a
    reference gave, and `weights` [N] those of their sequences, none where all are one. `rows` are the sequences it was
    made of.
    """

    input_ids: Int[Tensor, "B T"]
    attention_mask: Int[Tensor, "B T"]
    position_ids: Int[Tensor, "B T"]
    supervised: Bool[Tensor, "B T"]
    positions: Int[Tensor, " N"]
    labels: Int[Tensor, " N"]
    referenced: Bool[Tensor, " N"]
    rows: tuple[Encoded, ...]
    weights: Float[Tensor, " N"] | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on `device`."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


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
        # The logits at t are those of token t + 1: the prompt's last token predicts the response's first.
        first = start + len(row.prompt) - 1
        supervised[b, first : first + len(row.response)] = True
        supervised[b, [first + place for place in row.unlearned]] = False
    # Found here and not on the device: the number of positions is the size of a tensor, and a GPU would have to be
    # waited for to know it.
    positions = supervised.flatten().nonzero().squeeze(1)
    labels = input_ids.roll(-1, dims=1).flatten()[positions]
    # Row by row as `positions` are, so both have the same axis N.
    referenced = torch.tensor([not row.by_student for row in rows for _ in range(row.num_supervised)], dtype=torch.bool)
    position_ids = position_ids_of(attention_mask)
    return Batch(
        input_ids,
        attention_mask,
        position_ids,
        supervised,
        positions,
        labels,
        referenced,
        tuple(rows),
        position_weights(rows),
    )


def position_weights(rows: list[Encoded]) -> Float[Tensor, " N"] | None:
    """The weight of every supervised position, which is that of its sequence; none where all are one."""
    if all(row.weight == 1.0 for row in rows):
        return None
    return torch.tensor([row.weight for row in rows for _ in range(row.num_supervised)])


def position_ids_of(attention_mask: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Position of every token in its own sequence, with padding on either side."""
    # Given to every model, because those that are not given any count padding on the left as positions.
    return (attention_mask.cumsum(1) - 1).clamp(min=0)


def longest_last(rows: list[Encoded]) -> list[Encoded]:
    """Rows in the order in which several processes share them: every N-th, so that none has all the long ones."""
    return sorted(rows, key=lambda row: row.num_tokens) if processes.count() > 1 else rows


def pack(rows: list[Encoded], max_tokens: int) -> list[list[Encoded]]:
    """Rows cut into batches of similar length, each of at most `max_tokens` padded tokens (or one row).

    Of all ways to cut the rows, longest first, the one with the fewest padded tokens, where a batch counts as
    `max_tokens` / `BATCH_SHARE` more: what it costs to start another.
    """
    rows = sorted(rows, key=lambda row: (-row.num_tokens, row.id))  # the id makes the cut independent of input order
    lengths = np.array([row.num_tokens for row in rows])
    # A dynamic programme over prefixes: least[end] is the smallest cost of the first `end` rows, cut[end] is where the
    # last of their batches begins. A batch [first, end) is as wide as its first row, so it pads to lengths[first] times
    # its number of rows, and
    #     least[end] = min over first of least[first] + lengths[first] * (end - first) + the cost of a batch.
    # Filling batches greedily to the budget is worse: it joins long rows to much shorter ones only because both fit.
    least = np.zeros(len(rows) + 1)
    cut = [0] * (len(rows) + 1)
    low = 0
    for end in range(1, len(rows) + 1):
        # A batch from `low` on that does not fit will not fit with more rows either, so `low` never goes back, and the
        # candidates are the rows of one full batch, not all before. One row alone is allowed, however long it is.
        while low < end - 1 and lengths[low] * (end - low) > max_tokens:
            low += 1
        costs = least[low:end] + lengths[low:end] * (end - np.arange(low, end))
        best = int(np.argmin(costs))
        least[end] = costs[best] + max_tokens / BATCH_SHARE
        cut[end] = low + best
    batches: list[list[Encoded]] = []
    end = len(rows)
    while end > 0:
        batches.append(rows[cut[end] : end])
        end = cut[end]
    # Longest rows first, so that memory that does not suffice shows in the first batch of a step.
    return batches[::-1]
