"""Means with their uncertainty, paired differences with their test. Pure functions.

A value is the mean, plus an effect of its training run, plus an effect of its id (the same question in every run), plus
the rest: two random factors, crossed. The variance of the mean is estimated from the mean squares of both factors.

Axes: R training runs (one a training seed), I sample ids, S sampling seeds, K sums of an id. The answers of one run to
one id under several sampling seeds are no new runs and no new ids, so that their mean is one value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit

SEEDS_NEEDED = 3
"""Training runs from which on an interval covers training seeds; of fewer it is over ids only."""
LEVEL, POWER = 0.05, 0.8
"""Two-sided level of intervals and tests, and the power of what is called detectable."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Of sums [K, R, B] the value [R, B]. It need be no mean over ids: a perplexity is none."""


@dataclass(frozen=True)
class MeanInterval:
    """A mean and its 95 % interval; NaN where a single id says nothing of the spread."""

    mean: float
    low: float
    high: float
    covers_seeds: bool = False
    """False where there are fewer than three training runs: the interval is then over ids only."""

    def times(self, factor: float) -> Self:
        return replace(self, mean=factor * self.mean, low=factor * self.low, high=factor * self.high)


@dataclass(frozen=True, kw_only=True)
class Difference(MeanInterval):
    """A mean difference of two arms, paired by training seed and id, and the two-sided test that it is 0."""

    p: float
    p_holm: float
    """`p` after Holm's correction for every comparison that the report makes of the metric."""
    num_runs: int
    spread: float | None
    """Standard deviation of the difference between training seeds; None of a single one."""
    detectable: float | None
    """The smallest true difference that as many training seeds show in 80 % of studies at the level 5 %; None where the
    test does not cover them."""

    def times(self, factor: float) -> Self:
        spread, detectable = (None if each is None else factor * each for each in (self.spread, self.detectable))
        return replace(super().times(factor), spread=spread, detectable=detectable)


@dataclass(frozen=True)
class Estimate:
    """Means with their standard errors and the degrees of freedom of those; arrays of one shape."""

    mean: np.ndarray
    error: np.ndarray
    freedom: np.ndarray

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the 95 % interval by Student's t."""
        half = stdtrit(self.freedom, 1 - LEVEL / 2) * self.error
        return self.mean - half, self.mean + half

    def p(self) -> np.ndarray:
        """Two-sided p-value of the mean being 0; 1 where nothing differs at all."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.mean == 0, 0, np.abs(self.mean) / self.error)
        return 2 * stdtr(self.freedom, -t)

    def detectable(self) -> np.ndarray:
        """The true mean at which such a test says "not 0" in 80 % of studies, by the noncentral t distribution."""
        return self.error * nctdtrinc(self.freedom, 1 - POWER, stdtrit(self.freedom, 1 - LEVEL / 2))


def estimate(values: np.ndarray) -> Estimate:
    """Means of `values` [..., R, I] with the standard error for new training runs and new ids; for new ids alone where
    R < 3.

    Error: with the mean squares A between runs, B between ids and E of the rest, E[A + B - E] is R·I times the variance
    of the mean (Searle, Casella and McCulloch, Variance Components, 1992, ch. 4); B - E counts as 0 where chance makes
    it negative. Degrees of freedom: what Satterthwaite (1946) gives, but with the share A / (A + B - E) unsquared.
    Squared, it presumes the share known. Three runs know it with two degrees of freedom, and their intervals then
    cover 92.2 % where a tenth of the variance is that of ids; unsquared, 94.2 to 96.4 % whatever the shares are. Where
    ids have no effect at all, cutting B - E at 0 makes the interval wider than need be by as much as few ids leave
    unknown: 60 ids and three runs cover 97.1 %, 200 ids 96.3 %.
    """
    runs, ids = values.shape[-2:]
    mean = values.mean((-1, -2))
    if ids < 2:
        return Estimate(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    of_ids = values.mean(-2).var(-1, ddof=1)
    if runs < SEEDS_NEEDED:
        return Estimate(mean, np.sqrt(of_ids / ids), np.full_like(mean, ids - 1.0))
    between_runs, between_ids = ids * values.mean(-1).var(-1, ddof=1), runs * of_ids
    rest = values - values.mean(-1, keepdims=True) - values.mean(-2, keepdims=True) + mean[..., None, None]
    rest = (rest**2).sum((-1, -2)) / ((runs - 1) * (ids - 1))
    ids_part = np.maximum(between_ids - rest, 0)
    total = between_runs + ids_part
    known = np.where(ids_part > 0, (between_ids**2 + rest**2 / (runs - 1)) / (ids - 1), 0)
    safe = np.where(total > 0, total, 1)
    freedom = 1 / np.where(total > 0, between_runs / safe / (runs - 1) + known / safe**2, 1 / (runs - 1))
    return Estimate(mean, np.sqrt(total / (runs * ids)), freedom)


def mean_interval(values: np.ndarray) -> MeanInterval:
    """Mean of `values` [R, I, S] with its 95 % interval."""
    return _interval(estimate(values.mean(-1)), len(values))


def difference(values: np.ndarray) -> Difference:
    """What two arms differ by, of `values` [R, I, S]: one arm's minus the other's of the same seed and id."""
    return _difference(values.mean(-1))


def interval_of(sums: np.ndarray, statistic: Statistic) -> MeanInterval:
    """Mean over runs of a statistic of all ids' summed `sums` [K, R, I], with its 95 % interval."""
    return _interval(replace(estimate(pseudo_values(sums, statistic)), mean=_mean(sums, statistic)), sums.shape[1])


def difference_of(ours: np.ndarray, theirs: np.ndarray, statistic: Statistic) -> Difference:
    """What two arms' statistics differ by, of their sums [K, R, I] of the same seeds and ids."""
    values = pseudo_values(ours, statistic) - pseudo_values(theirs, statistic)
    return _difference(values, _mean(ours, statistic) - _mean(theirs, statistic))


def pseudo_values(sums: np.ndarray, statistic: Statistic) -> np.ndarray:
    """What every id adds to a statistic of `sums` [K, R, I], as values [R, I] whose mean over ids has its spread.

    I times the statistic of all ids, minus I - 1 times that of all ids but one (the jackknife; Tukey 1958).
    """
    total, ids = sums.sum(-1, keepdims=True), sums.shape[-1]
    return ids * statistic(total) - (ids - 1) * statistic(total - sums) if ids > 1 else statistic(sums)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number: the chance of any false finding among them stays under the level (Holm
    1979). NaN stays NaN and is counted."""
    corrected, worst = [float("nan")] * len(p), 0.0
    for place, i in enumerate(sorted((i for i in range(len(p)) if p[i] == p[i]), key=p.__getitem__)):
        worst = max(worst, min(1.0, (len(p) - place) * p[i]))
        corrected[i] = worst
    return corrected


def _mean(sums: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Of all training runs: the statistic itself, which the mean of its pseudo-values is but for its bias."""
    return statistic(sums.sum(-1, keepdims=True)).mean()


def _interval(found: Estimate, runs: int) -> MeanInterval:
    return MeanInterval(float(found.mean), *map(float, found.interval()), covers_seeds=runs >= SEEDS_NEEDED)


def _difference(values: np.ndarray, mean: np.ndarray | None = None) -> Difference:
    """Of values [R, I], about `mean` where theirs is not it."""
    found, runs = estimate(values), len(values)
    found = found if mean is None else replace(found, mean=mean)
    interval, p = _interval(found, runs), float(found.p())
    return Difference(
        interval.mean,
        interval.low,
        interval.high,
        interval.covers_seeds,
        p=p,
        p_holm=p,
        num_runs=runs,
        spread=float(values.mean(-1).std(ddof=1)) if runs > 1 else None,
        detectable=float(found.detectable()) if interval.covers_seeds else None,
    )
