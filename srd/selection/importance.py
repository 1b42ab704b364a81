"""Signals of how much a position matters: pure functions of what is known there.

Axes: n positions, V vocabulary. Larger matters more. Probabilities are those at temperature 1, whatever the loss has
(SE-KD, arXiv 2602.01395, section 3.1); entropies, likelihoods and divergences are in nats.

    >>> import torch
    >>> from srd.selection.importance import IMPORTANCE, Known
    >>> flat, sharp = torch.zeros(4), torch.tensor([9.0, 0, 0, 0])
    >>> known = Known(torch.tensor([0, 0]), logq=torch.stack([flat, sharp]).log_softmax(-1))
    >>> [round(value, 2) for value in IMPORTANCE["student_entropy"](known).tolist()]
    [1.39, 0.0]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from srd.errors import UserError

# The graph imports this file for the names of the signals; the tests check the shapes.
if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

FLOOR = -1e30
"""Stands for log 0: finite, so that 0 * FLOOR = 0 in value and in gradient."""

SMALLEST_NLL = 1e-6
"""Below this a likelihood is not divided by: the teacher is sure, and the ratio would be noise over noise."""


@dataclass(frozen=True)
class Known:
    """What is known at n positions; log-probabilities of a model only where a signal asks for them."""

    labels: Int[Tensor, " n"]
    places: Int[Tensor, " n"] | None = None
    """Number of the position in its response, from 0."""
    uniform: Float[Tensor, " n"] | None = None
    """A number in [0, 1) drawn for the position."""
    logq: Float[Tensor, "n V"] | None = None
    """The student's."""
    logp: Float[Tensor, "n V"] | None = None
    """The teacher's."""
    stored: tuple[Float[Tensor, " n"], Float[Tensor, " n"]] | None = None
    """The teacher's entropy and NLL of the label, where its distribution itself is not there."""

    @cached_property
    def student_entropy(self) -> Float[Tensor, " n"]:
        return entropy(_given(self.logq))

    @cached_property
    def student_nll(self) -> Float[Tensor, " n"]:
        return self._nll(_given(self.logq))

    @cached_property
    def teacher_entropy(self) -> Float[Tensor, " n"]:
        return self.stored[0] if self.stored is not None else entropy(_given(self.logp))

    @cached_property
    def teacher_nll(self) -> Float[Tensor, " n"]:
        return self.stored[1] if self.stored is not None else self._nll(_given(self.logp))

    @cached_property
    def forward_kl(self) -> Float[Tensor, " n"]:
        logp, logq = (_given(log).clamp(min=FLOOR) for log in (self.logp, self.logq))
        return (logp.exp() * (logp - logq)).sum(-1)

    @cached_property
    def reverse_kl(self) -> Float[Tensor, " n"]:
        return replace(self, logp=self.logq, logq=self.logp).forward_kl

    @cached_property
    def hellinger(self) -> Float[Tensor, " n"]:
        """Hellinger distance of teacher and student, in [0, 1]."""
        gap = (_given(self.logp) / 2).exp() - (_given(self.logq) / 2).exp()
        return (gap.square().sum(-1) / 2).sqrt()

    @cached_property
    def nll_ratio(self) -> Float[Tensor, " n"]:
        return self.student_nll / self.teacher_nll.clamp(min=SMALLEST_NLL)

    def _nll(self, log_probabilities: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
        return -log_probabilities.gather(-1, self.labels.unsqueeze(-1)).squeeze(-1)


def entropy(log_probabilities: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
    """-Σ p log p over the last axis, nats; a class without a chance adds nothing."""
    return -(log_probabilities.exp() * log_probabilities.clamp(min=FLOOR)).sum(-1)


def _given(value: Tensor | None) -> Tensor:
    assert value is not None, "a signal says which models it reads"
    return value


@dataclass(frozen=True)
class Importance:
    """A signal, and what it has to know."""

    function: Callable[[Known], Tensor]
    student: bool = False
    """Whether it reads the student's distribution."""
    teacher: bool = False
    """Whether it reads the teacher's."""
    whole: bool = False
    """Whether it reads all of the teacher's, and not its entropy or the label's likelihood alone."""
    drawn: bool = False
    """Whether it depends on the seed."""

    def __call__(self, known: Known) -> Float[Tensor, " n"]:
        """Its value at each position."""
        return self.function(known)


IMPORTANCE: dict[str, Importance] = {
    "student_entropy": Importance(lambda known: known.student_entropy, student=True),
    "teacher_entropy": Importance(lambda known: known.teacher_entropy, teacher=True),
    "student_nll": Importance(lambda known: known.student_nll, student=True),
    "teacher_nll": Importance(lambda known: known.teacher_nll, teacher=True),
    "forward_kl": Importance(lambda known: known.forward_kl, student=True, teacher=True, whole=True),
    "reverse_kl": Importance(lambda known: known.reverse_kl, student=True, teacher=True, whole=True),
    "nll_ratio": Importance(lambda known: known.nll_ratio, student=True, teacher=True),
    "nll_ratio_plus_entropy": Importance(
        lambda known: known.nll_ratio + known.student_entropy, student=True, teacher=True
    ),
    "kl_plus_entropy": Importance(
        lambda known: known.forward_kl + known.student_entropy, student=True, teacher=True, whole=True
    ),
    # TIP (arXiv 2604.14084): what the student is unsure of and what it is surely wrong about.
    "entropy_times_kl": Importance(
        lambda known: known.student_entropy * known.forward_kl, student=True, teacher=True, whole=True
    ),
    # AdaKD (arXiv 2510.11615): bounded, and the same whichever model is called the teacher.
    "hellinger": Importance(lambda known: known.hellinger, student=True, teacher=True, whole=True),
    "early": Importance(lambda known: -_given(known.places).float()),
    "random": Importance(lambda known: _given(known.uniform), drawn=True),
}
"""Signals by name. The first nine are those of SE-KD's table of metrics."""


def check_importance(name: str, has_distribution: bool) -> None:
    """A `UserError` for a signal that reads more of the teacher than there is."""
    if IMPORTANCE[name].whole and not has_distribution:
        raise UserError(
            f"selection.positions.signal or weight={name}: it reads the teacher's whole distribution, and "
            "teacher.signal keeps a part of it; use teacher.signal=hidden or online, or signal=student_entropy"
        )
