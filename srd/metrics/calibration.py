"""What a text's likelihood is summed up in: perplexity, and how far a model's confidence is from its accuracy.

Axes: N positions, M bins; `...` whatever sums are taken over apart (runs, resamples).
"""

from dataclasses import dataclass

import numpy as np

from srd.store.rows import Likelihood

BINS = 15
"""Equal parts of (0, 1], as in the paper's tables."""
BORDERS = np.arange(1, BINS) / BINS


@dataclass(frozen=True)
class Reading:
    """Sums over the positions of a text (a row, or all of them), with any further axes behind."""

    nll: np.ndarray
    """-log q(token), nats [...]."""
    counts: np.ndarray
    """Positions by the probability of their likeliest token [M, ...]."""
    confidence: np.ndarray
    """Sum of these probabilities [M, ...]."""
    hits: np.ndarray
    """Positions whose likeliest token is the text's own [M, ...]."""

    def stacked(self) -> np.ndarray:
        """All sums on one first axis [1 + 3 M, ...]; `unstacked` takes them apart."""
        return np.concatenate([self.nll[None], self.counts, self.confidence, self.hits])

    @staticmethod
    def unstacked(sums: np.ndarray) -> "Reading":
        return Reading(sums[0], *np.split(sums[1:], 3))

    def perplexity(self) -> np.ndarray:
        """exp of the mean NLL of a token."""
        return np.exp(self.nll / self.counts.sum(0))

    def accuracy(self) -> np.ndarray:
        """Share of the positions whose likeliest token is the text's own."""
        return self.hits.sum(0) / self.counts.sum(0)

    def ece(self) -> np.ndarray:
        """Expected calibration error in [0, 1]: |accuracy - mean confidence| of every bin, weighted by its positions
        (Guo et al. 2017, arXiv 1706.04599, equation 5)."""
        return np.abs(self.hits - self.confidence).sum(0) / self.counts.sum(0)


def binned(confidence: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Counts, sums of confidence and hits of every bin [3, M] for positions [N]; bin m holds ((m - 1)/M, m/M], the
    first one 0 as well."""
    bins = np.searchsorted(BORDERS, confidence, side="left")
    return np.stack([np.bincount(bins, weights, BINS) for weights in (np.ones(len(bins)), confidence, hit)])


def summary(rows: list[Likelihood]) -> dict[str, float]:
    """Perplexity, calibration error and accuracy over all positions, and how many there are."""
    total = Reading.unstacked(readings(rows).stacked().sum(-1))
    scores = {"perplexity": total.perplexity(), "ece": total.ece(), "accuracy": total.accuracy()}
    return {"positions": int(total.counts.sum()), **{name: float(value) for name, value in scores.items()}}


def readings(rows: list[Likelihood]) -> Reading:
    """The sums of every row, rows on the last axis."""
    nll, *bins = (np.array([getattr(row, name) for row in rows]) for name in ("nll", "counts", "confidence", "hits"))
    return Reading(nll, *(each.T for each in bins))
