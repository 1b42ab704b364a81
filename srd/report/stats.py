"""Means with their uncertainty: bootstrap over runs, samples and sampling seeds. Pure functions.

Axes: R training runs, I sample ids, S sampling seeds.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class MeanInterval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def times(self, factor: float) -> "MeanInterval":
        return MeanInterval(factor * self.mean, factor * self.low, factor * self.high)


def bootstrap(values: np.ndarray, seed: int = 0) -> MeanInterval:
    """Mean of `values` [R, I, S] with the 95 % percentile interval of a bootstrap that redraws every axis.

    Pass the difference of two arms over the same ids and seeds for a paired interval.
    """
    rng = np.random.default_rng(seed)
    runs, ids, seeds = values.shape
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        # Ids are drawn once for all runs and seeds: the same question, asked again, is not a new question.
        per_id = values[np.ix_(rng.integers(runs, size=runs), np.arange(ids), rng.integers(seeds, size=seeds))].mean(
            (0, 2)
        )
        means[i] = per_id[rng.integers(ids, size=ids)].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return MeanInterval(float(values.mean()), float(low), float(high))
