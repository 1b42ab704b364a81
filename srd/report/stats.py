"""Means with their uncertainty: bootstrap over runs, samples and sampling seeds. Pure functions.

Axes: R training runs, I sample ids, S sampling seeds, K sums of an id, B resamples computed at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
TOGETHER = 100


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


def bootstrap_of(sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> MeanInterval:
    """Mean over runs of a statistic of all ids' summed `sums` [K, R, I], with the 95 % percentile interval of a
    bootstrap that redraws ids and runs.

    `statistic` takes [K, R, B] to [R, B]. It need be no mean over ids: a perplexity is none.
    """
    rng = np.random.default_rng(seed)
    _, runs, ids = sums.shape
    means = []
    for _ in range(RESAMPLES // TOGETHER):
        # How often each is drawn: ids once for all runs, as above.
        of_ids = rng.multinomial(ids, np.full(ids, 1 / ids), TOGETHER).T.astype(float)
        of_runs = rng.multinomial(runs, np.full(runs, 1 / runs), TOGETHER).T / runs
        means.append((statistic(sums @ of_ids) * of_runs).sum(0))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return MeanInterval(float(statistic(sums.sum(-1, keepdims=True)).mean()), float(low), float(high))
