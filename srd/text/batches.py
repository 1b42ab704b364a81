"""Rows of ids to padded batches with their supervised positions, and which rows share a batch.

Axes: B sequences, T padded tokens, N supervised positions of the batch.

Masks come from lengths, never from comparing ids, so a pad id that equals EOS changes nothing.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from srd.text.encoding import Encoded

BATCH_SHARE = 64
"""Starting one more batch is worth this part of the largest one's padded tokens: the larger a device can take, the more
it loses."""


@dataclass(frozen=True)
class Batch:
    """Padded sequences with their supervised positions.

    `supervised[b, t]` holds where the logits at t predict a response token or EOS; `positions` [N] are those positions
    in a flattened [B * T], `labels` [N] the tokens there, and `referenced` [N] those of them that a reference gave.
    `rows` are the sequences it was made of.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    supervised: Tensor
    positions: Tensor
    labels: Tensor
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
    positions = supervised.flatten().nonzero().squeeze(1)  # found here, because a GPU would have to be waited for
    labels = input_ids.roll(-1, dims=1).flatten()[positions]
    referenced = torch.tensor([not row.by_student for row in rows for _ in row.response])
    position_ids, whole = position_ids_of(attention_mask), tuple(rows)
    return Batch(input_ids, attention_mask, position_ids, supervised, positions, labels, referenced, whole)


def position_ids_of(attention_mask: Tensor) -> Tensor:
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
