"""Policies: which positions are chosen by their signal, and how much each counts. Pure functions.

Axes: B sequences, L positions of the longest, n chosen positions.

How many positions of a sequence are chosen, and what they weigh together, is known from its length alone: so a step
can be cut into micro-batches and shared by processes, each dividing by the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from srd.config import Positions

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

SMALLEST_CHANCE = 1e-6
"""Chance, as a share of an even one, of a position whose signal is zero: without it `sampled` could not be unbiased."""
SMALLEST_SIGNAL = 1e-9
"""Stands for zero in a ratio of signals."""
ADAPTIVE_STEP, LEAST_SHARE, MEMORY = 0.1, 0.1, 0.99
"""AdaKD: by how much the share changes at a time, its smallest value, and what the mean loss keeps of its past."""


def quota(length: int, share: float) -> int:
    """⌈kL⌉, at least one."""
    # Not raised by the noise of a product: 0.2 · 15 is 3.0000000000000004.
    return min(length, max(1, math.ceil(length * share - 1e-9)))


@dataclass(frozen=True)
class Chosen:
    """Positions of one sequence, by number from 0, each with its weight; one may occur more than once."""

    places: Int[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    hard: Bool[np.ndarray, " n"] | None = None
    """Which of them are hard, where the policy tells them apart."""


Ranks = Callable[[int, Positions, float], tuple[int, int]]
"""From a sequence's length, the settings and the share of all steps that lie behind, to the ranks that are chosen:
first and end, where rank 0 has the largest value."""


def every(length: int, settings: Positions, done: float) -> tuple[int, int]:
    """All of them."""
    return 0, length


def top(length: int, settings: Positions, done: float) -> tuple[int, int]:
    """The ⌈kL⌉ positions of largest signal (SE-KD, arXiv 2602.01395, section 3.2)."""
    return 0, quota(length, settings.share)


def band(length: int, settings: Positions, done: float) -> tuple[int, int]:
    """Those between two percentiles, at least one."""
    low, high = (round(length * share) for share in settings.band)
    high = max(high, low + 1)
    return (length - high, length - low) if high <= length else (0, 1)


def window(length: int, settings: Positions, done: float) -> tuple[int, int]:
    """⌈kL⌉ neighbours in the order of the signal, which slide from the smallest values to the largest (SE-KD's
    entropy curriculum)."""
    width = quota(length, settings.share)
    first = round((length - width) * (1 - min(1.0, done / settings.slide)))
    return first, first + width


def ranked(values: Float[np.ndarray, " L"], first: int, end: int) -> Chosen:
    """The positions of some ranks, in their own order; of equal values the earlier place has the better rank."""
    order = np.argsort(-values, kind="stable")[first:end]
    return Chosen(np.sort(order), np.ones(len(order)))


def chances(values: Float[np.ndarray, " L"]) -> Float[np.ndarray, " L"]:
    """Chance of each position in one draw: its share of the signal's sum (SE-KD, Pos RS-KD)."""
    kept = np.clip(np.asarray(values, dtype=np.float64), 0, None)
    total = kept.sum()
    if total <= 0:
        return np.full(len(kept), 1 / len(kept))
    return (1 - SMALLEST_CHANCE) * kept / total + SMALLEST_CHANCE / len(kept)


def drawn(chance: Float[np.ndarray, " L"], uniform: Float[np.ndarray, " draws"], unbiased: bool) -> Chosen:
    """Positions drawn with replacement, one for each number in [0, 1).

    Unbiased, the weighted sum over them estimates the sum over all positions (importance weights 1 / (K π)); else
    their mean estimates the mean weighted by the signal.
    """
    ends = np.cumsum(chance)
    places = np.minimum(np.searchsorted(ends, uniform * ends[-1], side="right"), len(chance) - 1)
    weights = 1 / (len(uniform) * chance[places]) if unbiased else np.ones(len(uniform))
    return Chosen(places, weights)


def split(values: Float[np.ndarray, " L"], share: float, easy_weight: float) -> Chosen:
    """All positions; those of largest signal are hard and have 1 minus the easy ones' weight in the mean (AT-KD, arXiv
    2402.11890)."""
    length, count = len(values), quota(len(values), share)
    hard = np.zeros(length, dtype=bool)
    hard[ranked(values, 0, count).places] = True
    if count == length:
        return Chosen(np.arange(length), np.ones(length), hard)
    weights = np.where(hard, (1 - easy_weight) * length / count, easy_weight * length / (length - count))
    return Chosen(np.arange(length), weights, hard)


def where(keep: Bool[np.ndarray, " L"]) -> Chosen:
    """The positions where `keep` holds."""
    places = np.flatnonzero(keep)
    return Chosen(places, np.ones(len(places)))


def top_of_step(parts: list[Float[np.ndarray, " L"]], share: float) -> list[Chosen]:
    """The ⌈kL⌉ positions of largest value of all sequences of a step together; of equal values the earlier row's."""
    flat = np.concatenate(parts)
    keep = np.zeros(len(flat), dtype=bool)
    keep[ranked(flat, 0, quota(len(flat), share)).places] = True
    return [where(part) for part in np.split(keep, np.cumsum([len(part) for part in parts])[:-1])]


def over_percentile(parts: list[Float[np.ndarray, " L"]], history: list[float], share: float) -> list[Chosen]:
    """The positions whose value is over the (1 - k) quantile of `history` (global-level selection, GLS); where that is
    none of the step's, the largest: without a position it would have no loss."""
    largest = max(part.max() for part in parts)
    threshold = np.quantile(np.array(history, dtype=np.float32), 1 - share)
    threshold = min(threshold, np.nextafter(largest, -np.inf, dtype=np.float32))
    return [where(part > threshold) for part in parts]


Pick = Callable[["Float[np.ndarray, ' L']", Positions, "Float[np.ndarray, ' draws'] | None"], Chosen]
"""From a sequence's values, the settings and the numbers drawn for it to its positions."""


@dataclass(frozen=True)
class Policy:
    """How positions are chosen, and what it reads of the settings besides the policy's name."""

    ranks: Ranks
    """How many of a sequence, and which where nothing else says so: those of these ranks."""
    pick: Pick | None = None
    """Another rule for which of a sequence; none: by rank."""
    reads: tuple[str, ...] = ("signal", "share")
    is_drawn: bool = False
    """Whether it draws, a number for each position that it chooses."""
    remembers: bool = False
    """Whether it compares with values of earlier steps: those of a step's ranks are chosen until there are enough."""
    adapts: bool = False
    """Whether its share follows the loss."""
    tells_apart: bool = False
    """Whether it tells hard positions from easy ones, which the divergence then treats apart."""


POLICIES: dict[str, Policy] = {
    "all": Policy(every, reads=()),
    "top": Policy(top, reads=("signal", "share", "quota")),
    "threshold": Policy(top, reads=("signal", "share", "history"), remembers=True),
    "window": Policy(window, reads=("signal", "share", "slide")),
    "sampled": Policy(
        top,
        lambda values, settings, uniform: drawn(chances(values), uniform, settings.unbiased),  # pyright: ignore
        reads=("signal", "share", "unbiased"),
        is_drawn=True,
    ),
    "band": Policy(band, reads=("signal", "band")),
    "split": Policy(
        every,
        lambda values, settings, uniform: split(values, settings.share, settings.easy_weight),
        reads=("signal", "share", "easy_weight"),
        tells_apart=True,
    ),
    "adaptive": Policy(top, reads=("signal", "share", "loss_tolerance"), adapts=True),
}
"""Policies by name."""


def factors(values: Float[np.ndarray, " L"], cooling: float) -> Float[np.ndarray, " L"]:
    """By what the temperature is multiplied at each position: exp(-c tanh ln(value / median)), lower where the signal
    is larger (AdaKD's inverse difficulty temperature scaling, arXiv 2510.11615)."""
    kept = np.clip(np.asarray(values, dtype=np.float64), SMALLEST_SIGNAL, None)
    return np.exp(-cooling * np.tanh(np.log(kept / np.median(kept))))


def asked(settings: Positions) -> list[str]:
    """Names of the signals that are computed at every position before any is chosen."""
    names = [settings.signal] if "signal" in POLICIES[settings.policy].reads or settings.cooling else []
    return list(dict.fromkeys([*names, *([settings.weight] if settings.weight else [])]))


def choose(
    values: Float[np.ndarray, " L"], settings: Positions, done: float, uniform: Float[np.ndarray, " draws"] | None
) -> Chosen:
    """The positions of one sequence, by its values alone."""
    policy = POLICIES[settings.policy]
    if policy.pick is not None:
        return policy.pick(values, settings, uniform)
    return ranked(values, *policy.ranks(len(values), settings, done))


def num_chosen(length: int, settings: Positions, done: float) -> int:
    """How many positions of a sequence `choose` chooses, each as often as it is drawn."""
    first, end = POLICIES[settings.policy].ranks(length, settings, done)
    return end - first


def mass(length: int, settings: Positions, done: float) -> int:
    """What the weights of a sequence's positions are divided by, summed over the step."""
    is_whole = POLICIES[settings.policy].is_drawn and settings.unbiased
    return length if is_whole else num_chosen(length, settings, done)


@dataclass(frozen=True)
class Share:
    """AdaKD's focusing (arXiv 2510.11615): the share of the moment, and the smoothed loss that it follows."""

    share: float
    mean_loss: float | None = None
    reference: float | None = None
    """The smoothed loss when the share last changed."""

    def after(self, loss: float, tolerance: float) -> Share:
        """A smaller share after the smoothed loss has fallen by the tolerance, a larger one after it has risen."""
        mean = loss if self.mean_loss is None else MEMORY * self.mean_loss + (1 - MEMORY) * loss
        reference = mean if self.reference is None else self.reference
        if abs(mean - reference) <= tolerance * abs(reference):
            return Share(self.share, mean, reference)
        factor = 1 - ADAPTIVE_STEP if mean < reference else 1 + ADAPTIVE_STEP
        return Share(min(1.0, max(LEAST_SHARE, self.share * factor)), mean, mean)
