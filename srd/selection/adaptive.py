"""Adaptive λ: rules that choose how many samples stay, for `filter.keep=auto`. Pure functions.

A rule chooses a number. Who stays is the filter's: the easiest so many of the fused order, or as many by one signal or
by chance, so that a control keeps exactly as many as what it controls.

Axes: N samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from srd.errors import UserError
from srd.selection.mixtures import two_components
from srd.store.columns import Columns

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Given:
    """What a rule may look at; each names in `ShareRule.reads` what of it must be there."""

    samples: int
    difficulties: Columns = field(default_factory=dict)
    """Columns of the ranking's signals, larger is harder, without ids."""
    passes: int = 0
    """Sample passes that the distillation may take, `filter.passes`."""
    passes_of: Callable[[int], int] = lambda kept: kept
    """Sample passes of the whole distillation when so many samples are kept; a `UserError` for too few."""


@dataclass(frozen=True)
class ChosenShare:
    """How many samples stay, and why so many."""

    kept: int
    why: str


def chosen_words(chosen: dict[str, Any]) -> str:
    """One line about a λ that a rule chose, as the ledger has it."""
    return (
        f"λ = {chosen['keep']:.4g} by {chosen['rule']}, {chosen['kept']:,} of {chosen['of']:,} samples: {chosen['why']}"
    )


def difficulty(signals: Columns) -> Float[np.ndarray, " N"]:
    """The mean of the signals, each from 0 (its easiest sample) to 1 (its hardest); one that is the same for all says
    nothing and is left out. None left is a `UserError`.

    The fused scores would not do: of ranks, their curve has one shape whatever the difficulties are.
    """
    varied = _varied(signals)
    return np.mean([(values - values.min()) / np.ptp(values) for values in varied.values()], axis=0)


def knee(given: Given) -> ChosenShare:
    """The samples up to the knee of the sorted difficulty curve: the point that lies farthest below the chord from its
    first to its last point.

    That is where the difference curve of Kneedle (Satopää et al. 2011, section III) is largest, without its smoothing
    and its sensitivity. A curve that lies nowhere below its chord has no such point: a `UserError`.
    """
    curve = np.sort(difficulty(given.difficulties))
    height = (curve - curve[0]) / (curve[-1] - curve[0])
    below = np.linspace(0, 1, len(curve)) - height
    place = int(below.argmax())
    if below[place] <= 1e-9:
        raise UserError(
            "filter.rule=knee: the difficulty curve lies nowhere below its chord and has no knee; use "
            "filter.rule=mixture or a number for filter.keep"
        )
    where = f"difficulty {curve[place]:.3g} of {curve[0]:.3g} to {curve[-1]:.3g}"
    return ChosenShare(
        place + 1, f"the knee of the sorted difficulty curve, {below[place]:.3f} below its chord, at {where}"
    )


def mixture(given: Given) -> ChosenShare:
    """As many samples as more likely belong to the easy one of two Gaussians, fitted to all signals together."""
    varied = _varied(given.difficulties)
    fit = two_components(np.stack(list(varied.values()), axis=1))
    kept = int((fit.easy > 0.5).sum())
    if kept == 0:
        raise UserError(
            "filter.rule=mixture: no sample more likely belongs to the easy component; use filter.rule=knee or a "
            "number for filter.keep"
        )
    apart = ", ".join(
        f"{name} {hard - easy:+.2f}" for name, easy, hard in zip(varied, fit.means[0], fit.means[1], strict=True)
    )
    why = f"{kept:,} samples more likely belong to the easy one of two components, which has a share of "
    why += f"{fit.shares[0]:.3f}; the hard one lies {apart} standard deviations away"
    return ChosenShare(kept, why)


def budget(given: Given) -> ChosenShare:
    """As many samples as the stated sample passes allow, by the curriculum's own cut: one more would exceed them."""
    fits, too_many = 0, given.samples + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if (_passes(given, middle) or 0) <= given.passes else (fits, middle)
    passes = _passes(given, fits) if fits else None
    if passes is None:
        least = next(found for kept in range(1, given.samples + 1) if (found := _passes(given, kept)) is not None)
        raise UserError(f"filter.passes={given.passes}: the least that can be kept takes {least:,} sample passes")
    why = f"{passes:,} sample passes are within filter.passes={given.passes:,}"
    more = f", one more sample would take {given.passes_of(fits + 1):,}" if fits < given.samples else ", all samples"
    return ChosenShare(fits, why + more)


def _passes(given: Given, kept: int) -> int | None:
    """The passes of so many samples; none for fewer than the curriculum can cut."""
    try:
        return given.passes_of(kept)
    except UserError:
        return None


def _varied(signals: Columns) -> Columns:
    """The signals that tell samples apart; a `UserError` for none, or for a value that is not finite."""
    for name, values in signals.items():
        if not np.isfinite(values).all():
            raise UserError(f"filter.keep=auto: {name} is not finite for some sample; leave it out of rank.signals")
    varied = {name: values.astype(np.float64) for name, values in signals.items() if np.ptp(values) > 0}
    if not varied:
        raise UserError(
            f"filter.keep=auto: {', '.join(signals)} of all samples are the same; add a signal to rank.signals or use "
            "a number for filter.keep"
        )
    return varied


@dataclass(frozen=True)
class ShareRule:
    """A rule that chooses λ, and what the program needs of it."""

    function: Callable[[Given], ChosenShare]
    reads: str
    """What it looks at beside the number of samples: `signals`, the difficulties of the ranking's samples, or
    `passes`, the cost of the distillation."""
    ends: tuple[str, ...] = ("easiest",)
    """The ends of the order that it can choose for."""


RULES: dict[str, ShareRule] = {
    "knee": ShareRule(knee, "signals"),
    "mixture": ShareRule(mixture, "signals"),
    "budget": ShareRule(budget, "passes", ("easiest", "hardest")),
}
"""Rules of `filter.keep=auto` by name."""
