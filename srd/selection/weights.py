"""What the losses of the samples that stay are multiplied by. Pure functions over columns.

A weight is not a share of the step: the sum over a step's positions, each times the weight of its sample, is divided by
the plain number of supervised positions (`srd.training.step`). The mean weight of the samples that stay is one, so that
the loss of the whole has the size that it has without weights.

Axes: N samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def paced(pass_rate: Float[np.ndarray, " N"], powers: list[float]) -> Float[np.ndarray, " N"]:
    """p^α (1 - p)^β with `powers` α, β: largest where the student sometimes succeeds, zero where it always or never
    does (PACED, arXiv 2603.11178, whose default is α = β = 1).

    The paper takes p as the student is when training begins, as here; a share of k answers has k + 1 values.
    """
    alpha, beta = powers
    return pass_rate**alpha * (1 - pass_rate) ** beta


WEIGHTS: dict[str, Callable[[Float[np.ndarray, " N"], list[float]], Float[np.ndarray, " N"]]] = {"paced": paced}
"""Weights by name, before they are scaled: from the pass rates and `filter.weight_powers`."""


def scaled(weights: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """The weights by their mean; equal ones are exactly 1.0. One of them at least is above zero."""
    # By the largest first: ones add up without rounding, while the mean of equal fractions may be next to them.
    shares = weights / weights.max()
    return shares / shares.mean()
