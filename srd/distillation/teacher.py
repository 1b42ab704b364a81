"""A teacher's signal, and the teacher that gives it by reading every batch itself.

Axes: N supervised positions, n those of one chunk, H hidden size, V vocabulary.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from srd.models.heads import head_logits, hidden_at
from srd.selection.classes import SparseTarget
from srd.text.batches import Batch
from srd.text.encoding import Encoded


@runtime_checkable
class TeacherSignal(Protocol):
    """A teacher in two steps, so that its logits need exist for a few positions only."""

    def states(self, batch: Batch) -> Float[Tensor, "N H"]:
        """What enters the head at the supervised positions."""
        ...

    def target(self, states: Float[Tensor, "n H"]) -> Float[Tensor, "n V"] | SparseTarget:
        """Logits of a chunk of the states, or some classes of the distribution."""
        ...

    def prefetch(self, rows: list[Encoded]) -> None:
        """Get ready for rows that will be asked for next; changes no result."""
        ...


@dataclass(frozen=True)
class OnlineTeacher:
    """The signal of a teacher that reads every batch itself."""

    model: PreTrainedModel
    vocabulary: int

    def states(self, batch: Batch) -> Float[Tensor, "N H"]:
        with torch.no_grad():
            return hidden_at(self.model, batch)

    def target(self, states: Float[Tensor, "n H"]) -> Float[Tensor, "n V"]:
        with torch.no_grad():
            return head_logits(self.model, states, self.vocabulary)

    def prefetch(self, rows: list[Encoded]) -> None:
        """Nothing: it reads when it is asked."""
