"""The scored answers of one row of the report as arrays, and what is computed of them: means, or a score of the corpus.

Axes: R training runs, I sample ids, S sampling seeds, K sums of a corpus' score.
"""

from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np

from srd.errors import UserError
from srd.metrics import CRITERIA, METRICS
from srd.report.stats import Difference, MeanInterval, difference, difference_of, interval_of, mean_interval
from srd.store.manifests import file_of
from srd.store.rows import Score, read_rows


@dataclass(frozen=True)
class Values:
    """Values [R, I, S] of one row's metrics and of `nll`, `cut`, `tokens`, with the ids and seeds of their axes."""

    ids: list[str]
    seeds: list[int]
    by_name: dict[str, np.ndarray]
    sums: dict[str, np.ndarray]
    """Sums [K, R, I] over the seeds, of the metrics that are taken of a corpus: the answers under all seeds are one."""

    def interval(self, name: str) -> MeanInterval:
        """A metric with its 95 % interval, scaled as the report shows it; of a corpus by the jackknife over ids."""
        corpus = METRICS[name].corpus if name in self.sums else None
        if corpus is not None:
            return interval_of(self.sums[name], corpus.score).times(METRICS[name].scale)
        return mean_interval(self.by_name[name]).times(CRITERIA[name].scale)

    def mean(self, name: str) -> float:
        """A metric, or the mean of another number, unscaled."""
        corpus = METRICS[name].corpus if name in self.sums else None
        if corpus is not None:
            return float(corpus.score(self.sums[name].sum(-1, keepdims=True)).mean())
        return float(np.mean(self.by_name[name]))

    def difference(self, other: "Values", name: str) -> Difference | None:
        """This metric minus the other row's, unscaled, paired by run and id; none where ids or seeds differ."""
        if (self.ids, self.seeds) != (other.ids, other.seeds) or (name in self.sums) != (name in other.sums):
            return None
        corpus = METRICS[name].corpus if name in self.sums else None
        if corpus is not None:
            return difference_of(self.sums[name], other.sums[name], corpus.score)
        return difference(self.by_name[name] - other.by_name[name])

    def pass_at(self, counts: list[int]) -> dict[str, MeanInterval]:
        """pass@k of every metric that says whether an answer is right, for those k that there are answers for, per
        cent, by the titles of their columns."""
        verifiers = [name for name in self.by_name if name in METRICS and METRICS[name].is_binary]
        return {
            f"pass@{k} by {name}": mean_interval(pass_at(self.by_name[name], k)).times(100)
            for name in verifiers
            for k in counts
            if k <= len(self.seeds)
        }


def pass_at(right: np.ndarray, k: int) -> np.ndarray:
    """pass@k [..., 1] of answers that are right (1) or not (0) [..., n], without bias: the chance that k of the n
    answers, drawn without putting back, have a right one (Chen et al. 2021, arXiv 2107.03374, equation 1)."""
    n = right.shape[-1]
    by_count = np.array([1 - comb(n - c, k) / comb(n, k) for c in range(n + 1)])
    return by_count[right.sum(-1).astype(int)][..., None]


def read_values(outputs: Path, artefacts: list[str]) -> Values:
    """The scores of a row's training runs, which must be of the same samples and seeds."""
    by_run = [
        {(row.id, row.seed): row for row in read_rows(file_of(outputs / artefact, "scores.jsonl"), Score)}
        for artefact in artefacts
    ]
    ids, seeds = sorted({id for id, _ in by_run[0]}), sorted({seed for _, seed in by_run[0]})
    if any(set(rows) != set(by_run[0]) for rows in by_run):
        raise UserError(
            f"the runs {', '.join(artefacts)} scored different samples or seeds; evaluate them alike before comparing"
        )

    def array(name: str) -> np.ndarray:
        return np.array([[[rows[id, seed].value(name) for seed in seeds] for id in ids] for rows in by_run])

    def summed(name: str) -> np.ndarray:
        each = [[[(rows[id, seed].corpus or {})[name] for seed in seeds] for id in ids] for rows in by_run]
        return np.moveaxis(np.array(each).sum(2), -1, 0)

    # A metric that is younger than some of the scores has no column; `srd evaluate` makes a deleted artefact again.
    metrics = [name for name in METRICS if all(name in row.metrics for rows in by_run for row in rows.values())]
    return Values(
        ids,
        seeds,
        {name: array(name) for name in (*metrics, "nll", "cut", "tokens")},
        {name: summed(name) for name in metrics if METRICS[name].corpus is not None},
    )
