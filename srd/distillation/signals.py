"""Signals at the supervised positions of a batch, from the logits of the models that they read.

Axes: N supervised positions, n those of one chunk, V vocabulary, K signals.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from srd.distillation.loss import log_probabilities
from srd.selection.classes import SparseTarget
from srd.selection.importance import IMPORTANCE, Known
from srd.text.batches import Batch

Logits = Callable[[slice], Float[Tensor, "n V"]]
"""A model's logits at a chunk of a batch's positions."""
Targets = Callable[[slice], Float[Tensor, "n V"] | SparseTarget]
"""A teacher's logits there, or some classes of its distribution."""


def signals_at(
    names: Sequence[str],
    batch: Batch,
    student: Logits,
    teacher: Targets,
    chunk: int,
    uniform: Float[Tensor, " N"] | None = None,
) -> Float[Tensor, "K N"]:
    """Signals of `IMPORTANCE`, in the order of `names`. Logits exist for `chunk` positions at a time, and those of a
    model that no signal reads do not; `uniform` are the numbers of signals that are drawn."""
    entries = [IMPORTANCE[name] for name in names]
    reads_student, reads_teacher = any(entry.student for entry in entries), any(entry.teacher for entry in entries)
    places = torch.cat([torch.arange(row.num_supervised) for row in batch.rows]).to(batch.labels.device)

    def values(some: slice) -> Float[Tensor, "K n"]:
        known = Known(batch.labels[some], places[some], uniform[some] if uniform is not None else None)
        if reads_student:
            known = replace(known, logq=log_probabilities(student(some), 1.0))
        if reads_teacher:
            target = teacher(some)
            if isinstance(target, SparseTarget):
                known = replace(known, stored=target.known)
            else:
                known = replace(known, logp=log_probabilities(target, 1.0))
        return torch.stack([entry(known) for entry in entries])

    return by_chunks(values, len(batch.labels), chunk)


def by_chunks(values: Callable[[slice], Float[Tensor, "K n"]], positions: int, chunk: int) -> Float[Tensor, "K N"]:
    """What `values` gives for all positions, `chunk` of them at a time, so that logits exist for no more."""
    return torch.cat([values(slice(start, start + chunk)) for start in range(0, positions, chunk)], dim=1)
