"""Perplexity and calibration of a row of the report, with intervals over training runs and rows of text.

Axes: R training runs, I ids, K sums of an id.
"""

from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np

from srd.errors import UserError
from srd.metrics import Metric
from srd.metrics.calibration import Reading, readings
from srd.report.stats import Difference, MeanInterval, difference_of, interval_of
from srd.store.manifests import file_of
from srd.store.rows import Likelihood, read_rows

PERPLEXITY = Metric(exp, "perplexity", higher_is_better=False, needs=(), scale=1)
"""What a suite without prompts is compared by: e to the mean NLL of a token."""


@dataclass
class LikelihoodScore:
    """What a checkpoint's likelihoods say, mean over its training runs."""

    perplexity: MeanInterval
    ece: MeanInterval
    """Expected calibration error, per cent."""
    accuracy: float
    """Positions whose likeliest token is the text's own, per cent."""
    nll: float
    """Mean over the rows of the mean NLL of their tokens, nats."""
    num_runs: int
    num_ids: int


@dataclass(frozen=True)
class Readings:
    """The sums [K, R, I] of a row's training runs, with the ids of their last axis."""

    ids: list[str]
    sums: np.ndarray


def read_likelihoods(outputs: Path, artefacts: list[str]) -> Readings:
    """The likelihoods of a row's training runs, which must be of the same text."""
    by_run = [read_rows(file_of(outputs / artefact, "likelihood.jsonl"), Likelihood) for artefact in artefacts]
    ids = [row.id for row in by_run[0]]
    if any([row.id for row in rows] != ids for rows in by_run):
        raise UserError(f"the runs {', '.join(artefacts)} read different rows; read them alike before comparing")
    return Readings(ids, np.stack([readings(rows).stacked() for rows in by_run], axis=1))


def likelihood_score(found: Readings) -> LikelihoodScore:
    """The scores of one row of the report."""
    each, total = Reading.unstacked(found.sums), Reading.unstacked(found.sums.sum(-1))
    return LikelihoodScore(
        perplexity=interval_of(found.sums, _perplexity),
        ece=interval_of(found.sums, lambda sums: Reading.unstacked(sums).ece()).times(100),
        accuracy=100 * float(total.accuracy().mean()),
        nll=float((each.nll / each.counts.sum(0)).mean()),
        num_runs=found.sums.shape[1],
        num_ids=found.sums.shape[2],
    )


def perplexity_difference(ours: Readings, theirs: Readings) -> Difference | None:
    """Ours minus theirs, paired by training run and id; nothing where they are not of the same text and runs."""
    if ours.ids != theirs.ids or ours.sums.shape != theirs.sums.shape:
        return None
    return difference_of(ours.sums, theirs.sums, _perplexity)


def _perplexity(sums: np.ndarray) -> np.ndarray:
    return Reading.unstacked(sums).perplexity()
