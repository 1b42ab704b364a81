"""What models make of a sample's reference: means over its supervised positions, without an answer.

Axes: N supervised positions, n those of one chunk, K values at each position.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srd.config import Engine
from srd.distillation.loss import log_probabilities
from srd.models.device import autocast
from srd.models.heads import head_logits, hidden_at
from srd.runtime import processes
from srd.selection.importance import IMPORTANCE, Known
from srd.text.batches import Batch, collate, pack
from srd.text.encoding import Encoded

Measure = Callable[[Batch], Float[Tensor, "K N"]]
"""Values at each supervised position of a batch, in the order of its labels."""


@torch.no_grad()
def reference_means(
    measure: Measure, rows: list[Encoded], pad: int, device: torch.device, engine: Engine
) -> list[list[float]]:
    """The mean of each of the K values over each row's supervised positions (EOS included), in the order of `rows`.

    A pass of its own over whole sequences, packed by length; a sample that occurs twice is read once. Where several
    processes read, each has its share, and all get the whole.
    """
    different = list({row.id: row for row in rows}.values())
    mine = processes.share(different)
    means: dict[str, list[float]] = {}
    for batch_rows in pack(mine, engine.micro_batch_tokens):
        batch = collate(batch_rows, pad).to(device)
        with autocast(device, engine):
            values = measure(batch).cpu()
        # Double, so that the mean of a long response does not depend on how its positions are added up.
        by_row = values.double().split([row.num_supervised for row in batch_rows], dim=1)
        means |= {row.id: [float(k.mean()) for k in each] for row, each in zip(batch_rows, by_row, strict=True)}
    merged = processes.merged([means[row.id] for row in mine])
    every = {row.id: values for row, values in zip(different, merged, strict=True)}
    return [every[row.id] for row in rows]


def by_chunks(values: Callable[[slice], Float[Tensor, "K n"]], positions: int, chunk: int) -> Float[Tensor, "K N"]:
    """What `values` gives for all positions, `chunk` of them at a time, so that logits exist for no more."""
    return torch.cat([values(slice(start, start + chunk)) for start in range(0, positions, chunk)], dim=1)


def signal_values(
    names: tuple[str, ...], vocabulary: int, size: int, student: nn.Module, teacher: nn.Module | None = None
) -> Measure:
    """Signals of `IMPORTANCE` by name, which read the student and, where there is one, the teacher; logits exist for
    `size` positions at a time. The mean of `student_entropy` over a sample's positions is U_i of SE-KD
    (arXiv 2602.01395)."""

    def measure(batch: Batch) -> Float[Tensor, "K N"]:
        hidden = hidden_at(student, batch)
        states = hidden_at(teacher, batch) if teacher is not None else None

        def values(chunk: slice) -> Float[Tensor, "K n"]:
            logq = log_probabilities(head_logits(student, hidden[chunk], vocabulary), 1.0)
            logp = None
            if teacher is not None and states is not None:
                logp = log_probabilities(head_logits(teacher, states[chunk], vocabulary), 1.0)
            known = Known(batch.labels[chunk], batch.labels[chunk], logq=logq, logp=logp)
            return torch.stack([IMPORTANCE[name](known) for name in names])

        return by_chunks(values, len(hidden), size)

    return measure
