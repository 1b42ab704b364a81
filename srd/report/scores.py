"""From artefacts to rows of a table: scores with intervals, and what they cost. No number is typed in.

Axes: R training runs, I sample ids, S sampling seeds.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srd.errors import UserError
from srd.report.costs import Cost, cost_of
from srd.report.published import published
from srd.report.stats import MeanInterval, bootstrap
from srd.store.rows import Score, read_rows


@dataclass
class Result:
    """One line of the table: a checkpoint on a suite."""

    arm: str
    target: str
    suite: str
    num_runs: int
    num_ids: int
    num_seeds: int
    rouge_l: MeanInterval
    exact_match: float
    nll: float
    cut_share: float
    mean_tokens: float
    cost: Cost
    fingerprints: list[str]
    differences: dict[str, MeanInterval] = field(default_factory=dict)
    published: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rows_of(outputs: Path, entries: list[dict[str, Any]]) -> list[Result]:
    """Rows of a study: teacher, student before distillation, then the arms, plain ones first.

    `differences` are an arm's ROUGE-L minus that of other arms, paired by training seed, id and sampling seed.
    """
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: (entry["curated"], entry["arm"], entry["seed"])):
        runs[entry["arm"]].append(entry)
        for target in ("teacher", "student", "distill"):
            for suite, name in entry["evaluations"].get(target, {}).items():
                arm = entry["arm"] if target == "distill" else _untrained(target, entry, suite, entries)
                if name not in groups[target, arm, suite]:
                    groups[target, arm, suite].append(name)
    order = sorted(groups, key=lambda key: ("teacher", "student", "distill").index(key[0]))
    tables = {key: _values(outputs, groups[key]) for key in order}
    rows = []
    for target, arm, suite in order:
        names = groups[target, arm, suite]
        distilled = [entry["distill"] for entry in runs[arm]] if target == "distill" else names
        row = _row(arm, target, suite, names, tables[target, arm, suite], cost_of(outputs, distilled, target))
        row.published = _published(target, suite, runs[arm][:1] if target == "distill" else entries)
        rows.append(row)
    _compare(rows, tables, runs)
    return rows


def _untrained(target: str, entry: dict[str, Any], suite: str, entries: list[dict[str, Any]]) -> str:
    """Name of a teacher's or untrained student's row; with its fingerprint where the study has several of that
    model."""
    name = f"{target} ({entry['model']})"
    peers = {
        other["evaluations"].get(target, {}).get(suite) for other in entries if other["model"] == entry["model"]
    } - {None}
    return f"{name} {entry['evaluations'][target][suite][-16:-10]}" if len(peers) > 1 else name


def _row(arm: str, target: str, suite: str, names: list[str], table: "Table", cost: Cost) -> Result:
    means = {name: float(np.mean(values)) for name, values in table.metrics.items()}
    runs, ids, seeds = table.metrics["rouge_l"].shape
    estimate = _percent(bootstrap(table.metrics["rouge_l"]))
    return Result(
        arm,
        target,
        suite,
        runs,
        ids,
        seeds,
        estimate,
        100 * means["exact_match"],
        means["nll"],
        means["cut"],
        means["tokens"],
        cost,
        names,
    )


@dataclass(frozen=True)
class Table:
    """Metric values [R, I, S] of one row, with the ids and seeds of its axes."""

    ids: list[str]
    seeds: list[int]
    metrics: dict[str, np.ndarray]


def _values(outputs: Path, names: list[str]) -> Table:
    by_run = [{(row.id, row.seed): row for row in read_rows(outputs / name / "scores.jsonl", Score)} for name in names]
    ids, seeds = sorted({id for id, _ in by_run[0]}), sorted({seed for _, seed in by_run[0]})
    if any(set(of_run) != set(by_run[0]) for of_run in by_run):
        raise UserError(
            f"the runs {', '.join(names)} scored different samples or seeds; evaluate them alike before comparing"
        )
    metrics = ("rouge_l", "exact_match", "nll", "cut", "tokens")
    return Table(
        ids,
        seeds,
        {
            m: np.array([[[float(getattr(of_run[id, seed], m)) for seed in seeds] for id in ids] for of_run in by_run])
            for m in metrics
        },
    )


def _compare(
    rows: list[Result], tables: dict[tuple[str, str, str], Table], runs: dict[str, list[dict[str, Any]]]
) -> None:
    """Fill in the paired differences of every arm to the arms it names, on the same suite, seeds and ids."""
    distilled = {(row.arm, row.suite): row for row in rows if row.target == "distill"}
    seeds = {arm: [entry["seed"] for entry in of_arm] for arm, of_arm in runs.items()}
    for row in distilled.values():
        for other in runs[row.arm][0].get("versus") or _plain(row.arm, runs):
            theirs = distilled.get((other, row.suite))
            if theirs is None or theirs is row or seeds[other] != seeds[row.arm]:
                continue
            ours, peer = tables["distill", row.arm, row.suite], tables["distill", other, row.suite]
            if (ours.ids, ours.seeds) == (peer.ids, peer.seeds):
                row.differences[other] = _percent(bootstrap(ours.metrics["rouge_l"] - peer.metrics["rouge_l"]))


def _plain(arm: str, runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The plain arm to compare with where none is named: of the same method and seeds, else of the same seeds."""
    seeds, method = [entry["seed"] for entry in runs[arm]], runs[arm][0]["method"]
    plain = [
        other
        for other, of_arm in runs.items()
        if not of_arm[0]["curated"] and [entry["seed"] for entry in of_arm] == seeds
    ]
    best = sorted(plain, key=lambda other: runs[other][0]["method"] != method)[:1]
    return [] if best == [arm] else best


def _published(target: str, suite: str, entries: list[dict[str, Any]]) -> float | None:
    """The published score that an arm names, or of the teacher in the table that its students name."""
    for name in (entry.get("published") for entry in entries):
        table, _, row = (name or "").partition("/")
        scores = (
            published()[table]["rows"].get("teacher" if target == "teacher" else row, {})
            if table and target != "student"
            else {}
        )
        if suite in scores:
            return scores[suite]
    return None


def _percent(estimate: MeanInterval) -> MeanInterval:
    return MeanInterval(100 * estimate.mean, 100 * estimate.low, 100 * estimate.high)
