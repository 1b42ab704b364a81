"""The numbers of the report's pictures, which the page and the files for Markdown both draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from srd.metrics import CRITERIA, dev_column
from srd.report.costs import Cost
from srd.report.scores import COMPARED, Result
from srd.report.stats import MeanInterval
from srd.report.study import Run
from srd.store.manifests import file_of
from srd.store.rows import read_dicts

SMOOTHING = 20
"""Steps averaged in the loss curve."""
COSTS = {"seconds": "seconds, scoring included", "sample_passes": "sample passes", "flops": "estimated FLOPs"}
"""What a score is set against: fields of `Cost`, and the titles of their axes."""


@dataclass(frozen=True)
class Curve:
    """How one training run went: `loss` and `dev` as pairs of step and value."""

    arm: str
    seed: int
    borders: list[float]
    """Between the last step of a phase and the first of the next."""
    loss: list[tuple[int, float]]
    """Nats a token, mean of the last `SMOOTHING` steps."""
    dev: list[tuple[int, float]]
    """Empty where the run chose its weights by another metric."""


@dataclass(frozen=True)
class Point:
    """An arm's score and what it cost; or a teacher's or untrained student's, to be drawn as a line."""

    arm: str
    score: MeanInterval
    cost: Cost
    is_arm: bool


@dataclass(frozen=True)
class Plane:
    """Score against cost on a suite."""

    suite: str
    column: str
    higher_is_better: bool
    points: list[Point]

    def front(self, cost: str) -> list[Point]:
        """The arms that no other beats at its cost or less, cheapest first."""
        arms = [point for point in self.points if point.is_arm]
        pairs = [(getattr(point.cost, cost), point.score.mean) for point in arms]
        return [arms[index] for index in pareto(pairs, self.higher_is_better)]


def first_runs(runs: list[Run]) -> list[Run]:
    """One run an arm, of its smallest training seed: plain arms first."""
    return list({run.arm: run for run in sorted(runs, key=lambda run: (run.curated, run.arm, -run.seed))}.values())


def curves(runs: list[Run], metric: str) -> list[Curve]:
    """One curve an arm that is distilled, its dev scores by `metric`."""
    return [_curve(run, metric) for run in first_runs(runs) if run.is_distilled]


def _curve(run: Run, metric: str) -> Curve:
    rows, scores = (read_dicts(file_of(run.folder, f"{kind}.jsonl")) for kind in ("metrics", "dev"))
    smooth = smoothed([row["train/loss_nats"] for row in rows])
    column, scale = dev_column(metric), CRITERIA[metric].scale
    return Curve(
        arm=run.arm,
        seed=run.seed,
        borders=[before["step"] + 0.5 for before, after in pairwise(rows) if after["phase"] != before["phase"]],
        loss=[(row["step"], value) for row, value in zip(rows, smooth, strict=True)],
        dev=[(row["step"], scale * row[column]) for row in scores if column in row],
    )


def smoothed(values: Sequence[float], steps: int = SMOOTHING) -> list[float]:
    """Mean of each value and of up to `steps` - 1 before it."""
    windows = (values[max(0, end - steps) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]


def thinned(values: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most `most` of the values, evenly spaced, the last one kept."""
    every = -(-len(values) // most)
    return values[::-1][::every][::-1] if every > 1 else values


def planes(rows: list[Result]) -> list[Plane]:
    """One a suite on which an arm was scored, in the order of the table."""
    suites = dict.fromkeys(row.suite for row in rows if row.target == "distill")
    return [_plane(suite, [row for row in rows if row.suite == suite]) for suite in suites]


def _plane(suite: str, rows: list[Result]) -> Plane:
    metric, alike = COMPARED[rows[0].metric], [row for row in rows if row.metric == rows[0].metric]
    points = [Point(row.arm, row.score, row.cost, row.target == "distill") for row in alike]
    return Plane(suite, metric.column, metric.higher_is_better, points)


def pareto(points: Sequence[tuple[float, float]], higher_is_better: bool) -> list[int]:
    """Which pairs of cost and score no other pair dominates (costs no more, scores no worse, and one of both truly),
    cheapest first; of equal ones the first."""
    sign = 1 if higher_is_better else -1
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -sign * points[index][1])):
        if not front or sign * points[index][1] > sign * points[front[-1]][1]:
            front.append(index)
    return front
