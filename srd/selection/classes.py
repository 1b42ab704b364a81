"""The class axis: a teacher's distribution by some of its classes.

Axes: n positions, V vocabulary, U draws, S slots, K classes.

*Sampled* (RS-KD, arXiv 2503.16870; SE-KD's class axis): U ids drawn from p_τ with replacement; the share of the draws
that fell on an id estimates its probability, so that Σ p̂ f over the drawn ids is Σ p f in the mean, whatever f is.
*Top*: the K most probable ids with their probabilities, and one more class for all others, so that nothing is
renormalised away: a divergence between such distributions is a lower bound of the whole one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

SUMMED_AT_ONCE = 64
"""Positions whose distribution is added up in float64 at a time."""


@dataclass(frozen=True)
class SparseTarget:
    """Some classes of p_τ at n positions."""

    ids: Int[Tensor, "n S"]
    logs: Float[Tensor, "n S"]
    """Natural logarithm of each one's probability, or of its estimate; -inf in a slot that is not used."""
    temperature: float
    """τ."""
    entropy: Float[Tensor, " n"]
    """Of p_τ itself, nats."""
    known: tuple[Float[Tensor, " n"], Float[Tensor, " n"]]
    """Entropy of p at temperature 1, and NLL of the label there, nats."""
    drawn: bool
    """Whether the classes were drawn; else they are the most probable ones, and `rest` is known."""
    rest: Float[Tensor, " n"] | None = None
    """Logarithm of the probability of all other classes together; none where there are no others."""


def draw(probabilities: Float[Tensor, "n V"], uniform: Float[Tensor, "n U"]) -> Int[Tensor, "n U"]:
    """An id for each number in [0, 1), with the chance that its class has."""
    found = []
    # In float64, where the sum of a large vocabulary leaves a rare class its chance; a few positions at a time, because
    # that is the largest thing there is.
    for some, numbers in zip(probabilities.split(SUMMED_AT_ONCE), uniform.split(SUMMED_AT_ONCE), strict=True):
        ends = some.double().cumsum(-1)
        at = torch.searchsorted(ends, numbers.double() * ends[:, -1:], right=True)
        found.append(at.clamp(max=some.shape[-1] - 1))
    return torch.cat(found)


def counted(ids: Int[Tensor, "n U"], slots: int) -> tuple[Int[Tensor, "n S"], Int[Tensor, "n S"]]:
    """The different ids of each row, those drawn most often first, and how often: 0 times in a slot that is not
    used."""
    ordered, _ = ids.sort(dim=1)
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = is_new.cumsum(1) - 1
    counts = torch.zeros_like(ordered).scatter_add_(1, group, torch.ones_like(ordered))
    different = torch.zeros_like(ordered).scatter_(1, group, ordered)
    # Stable, so that of two that were drawn as often the smaller id is kept.
    counts, order = counts.sort(dim=1, descending=True, stable=True)
    return different.gather(1, order)[:, :slots], counts[:, :slots]


def most_probable(logp: Float[Tensor, "n V"], count: int) -> tuple[Int[Tensor, "n K"], Float[Tensor, "n K"]]:
    """The ids of the `count` largest probabilities (all, where there are no more) and their logarithms."""
    values, ids = logp.topk(min(count, logp.shape[-1]), dim=-1)
    return ids, values


def log_rest(log_probabilities: Float[Tensor, "n V"], ids: Int[Tensor, "n K"]) -> Float[Tensor, " n"] | None:
    """Logarithm of the probability of all classes but `ids`; none where there are no others."""
    if ids.shape[-1] >= log_probabilities.shape[-1]:
        return None
    # Added up over the others, not taken from one: what is left of one after a sure prediction is rounding.
    return log_probabilities.scatter(-1, ids, -torch.inf).logsumexp(-1)


def collapsed(log_probabilities: Float[Tensor, "n V"], ids: Int[Tensor, "n K"]) -> Float[Tensor, "n classes"]:
    """Log-probabilities of `ids` and of all others as one class: a distribution over K + 1 classes (K of K)."""
    some, rest = log_probabilities.gather(-1, ids), log_rest(log_probabilities, ids)
    return some if rest is None else torch.cat([some, rest.unsqueeze(-1)], dim=-1)
