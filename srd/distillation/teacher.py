"""A teacher's signal, and the teacher that gives it by reading every batch itself.

Axes: N supervised positions, H hidden size, V vocabulary.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from srd.models.heads import head_logits, hidden_at
from srd.text.batches import Batch
from srd.text.encoding import Encoded


class TeacherSignal(Protocol):
    """A teacher in two steps, so that its logits need exist for a few positions only."""

    def states(self, batch: Batch) -> Tensor:
        """What enters the head at the supervised positions: [N, H]."""
        ...

    def logits(self, states: Tensor) -> Tensor:
        """Logits [n, V] of some of the states."""
        ...

    def prefetch(self, rows: list[Encoded]) -> None:
        """Get ready for rows that will be asked for next; changes no result."""
        ...


@dataclass(frozen=True)
class OnlineTeacher:
    """The signal of a teacher that reads every batch itself."""

    model: PreTrainedModel
    vocabulary: int

    def states(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return hidden_at(self.model, batch)

    def logits(self, states: Tensor) -> Tensor:
        with torch.no_grad():
            return head_logits(self.model, states, self.vocabulary)

    def prefetch(self, rows: list[Encoded]) -> None:
        """Nothing: it reads when it is asked."""
