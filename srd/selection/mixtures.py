"""A mixture of two Gaussians, fitted by expectation and maximisation: which samples more likely are easy ones.

Axes: N samples, S signals, C = 2 components, the easy one first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

if TYPE_CHECKING:
    from jaxtyping import Float

LEAST_VARIANCE = 1e-2
"""Of a component, in units of the signal's own: a signal that is equal for many samples would let it shrink to
nothing, where the likelihood has no bound."""
MOST_ROUNDS = 1000
LEAST_GAIN = 1e-9
"""Gain in mean log-likelihood (nats a sample) below which a fit is done."""


@dataclass(frozen=True)
class Fit:
    """Two components with diagonal covariance, in units of the standardised signals."""

    easy: Float[np.ndarray, " N"]
    """Probability that a sample belongs to the easy component."""
    log_likelihoods: list[float]
    """Mean over the samples (nats) before each round and after the last; it never falls."""
    means: Float[np.ndarray, "C S"]
    shares: Float[np.ndarray, " C"]


def two_components(values: Float[np.ndarray, "N S"]) -> Fit:
    """The mixture of maximal likelihood that is found from the easier and the harder half of the samples (by the mean
    of their standardised difficulties): no chance is in it. Every signal must vary.

    Variances are bounded below by `LEAST_VARIANCE`; a bounded variance still maximises its part of the expected
    likelihood, so that the likelihood never falls (Dempster et al. 1977).
    """
    x = (values - values.mean(0)) / values.std(0)
    hard = np.argsort(np.argsort(x.mean(1), kind="stable")) >= len(x) // 2
    belongs = np.stack([~hard, hard]).astype(np.float64)
    likelihoods: list[float] = []
    while True:
        shares, means, variances = _maximised(x, belongs)
        joint = np.log(shares)[:, None] + _log_density(x, means, variances)
        total = np.asarray(logsumexp(joint, axis=0))
        belongs = np.exp(joint - total)
        likelihoods.append(float(total.mean()))
        is_level = len(likelihoods) > 1 and likelihoods[-1] - likelihoods[-2] < LEAST_GAIN
        if is_level or len(likelihoods) == MOST_ROUNDS:
            break
    easy_first = np.argsort(means.mean(1), kind="stable")
    return Fit(belongs[easy_first[0]], likelihoods, means[easy_first], shares[easy_first])


def _maximised(
    x: Float[np.ndarray, "N S"], belongs: Float[np.ndarray, "C N"]
) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, "C S"], Float[np.ndarray, "C S"]]:
    """Shares, means and variances of greatest expected likelihood."""
    # A component that has lost all its samples keeps a share that has a logarithm.
    weights = np.maximum(belongs.sum(1), np.finfo(np.float64).tiny)
    means = belongs @ x / weights[:, None]
    squares = np.stack([each @ (x - mean) ** 2 for each, mean in zip(belongs, means, strict=True)])
    return weights / len(x), means, np.maximum(squares / weights[:, None], LEAST_VARIANCE)


def _log_density(
    x: Float[np.ndarray, "N S"], means: Float[np.ndarray, "C S"], variances: Float[np.ndarray, "C S"]
) -> Float[np.ndarray, "C N"]:
    parts = [
        -0.5 * (np.log(2 * np.pi * variance) + (x - mean) ** 2 / variance).sum(1)
        for mean, variance in zip(means, variances, strict=True)
    ]
    return np.stack(parts)
