"""The samples of a study as a person looks through them: what was trained on, and what was answered.

Texts of both fit a page: where they are too many or too long they are cut alike, and the page says so.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srd.config import PASS_RATE
from srd.metrics import CRITERIA, METRICS, graded_title
from srd.report.figures import first_runs
from srd.report.scores import READ_BY, Result
from srd.report.study import Run
from srd.store.manifests import file_of, read_manifest
from srd.store.rows import Grade, Phase, Reflection, Sample, Score, read_dicts, read_rows

BUDGET_BYTES = 6_000_000
"""What the samples of one table may take in the page."""
TEXT_LIMITS = (4000, 2000, 1000, 700, 500, 350, 250, 180, 120, 90, 60)
"""Characters that every text of a table is cut to: the most that the budget allows."""


@dataclass(frozen=True)
class Samples:
    """A table of samples: each a list of the sample's `id`, texts and numbers, in the order that the page knows."""

    about: dict[str, Any]
    """What else the page needs to know of them."""
    rows: list[list[Any]]
    total: int
    """Rows that there are; fewer are here where the budget did not suffice."""
    cut_at: int | None = None
    """Characters that texts were cut to; none: all are whole."""

    def as_dict(self) -> dict[str, Any]:
        return {**self.about, "rows": self.rows, "total": self.total, "cut_at": self.cut_at}


def training_samples(runs: list[Run]) -> Samples | None:
    """Every training sample of the first curated arm that ranked them, rather one whose student answered or read them,
    easiest first: id, prompt, reference, the student's answer, phase (none: dropped), rank, then the values of
    `columns`."""
    ranked_by = [run for run in first_runs(runs) if run.curated and run.folders("rank")]
    if not ranked_by:
        return None
    run = max(ranked_by, key=lambda run: (bool(run.folders("reflect")), bool(run.folders("score"))))
    # A run may choose by one order and train in another: the one of most signals says most.
    folder = max(run.folders("rank"), key=lambda folder: len(read_manifest(folder)["settings"]["signals"]))
    ranking = read_dicts(file_of(folder, "ranking.jsonl"))
    samples = {sample.id: sample for sample in _samples(_texts(run)) if sample.split == "train"}
    reflections = {
        row.id: row
        for folder in run.folders("reflect")
        for row in read_rows(file_of(folder, "reflections.jsonl"), Reflection)
    }
    phases = read_rows(file_of(run.folders("partition")[0], "phases.jsonl"), Phase)
    entered = {id: phase.phase + 1 for phase in reversed(phases) for id in phase.ids}
    signals = _signals(run, ranking, reflections)
    rows = [
        [
            id,
            _prompt(samples[id]),
            " ‖ ".join(samples[id].references),
            reflections[id].response if id in reflections else None,
            entered.get(id),
            ranked["rank"],
            *(values.get(id) for values in signals.values()),
        ]
        for ranked in ranking
        if (id := ranked["id"]) in samples
    ]
    about = {"arm": run.arm, "columns": list(signals), "phases": len(phases), "answered": bool(reflections)}
    return fitted(Samples(about, rows, len(rows)))


def _texts(run: Run) -> Path:
    """Where a run's training samples are: windows of plain text, or samples."""
    return (run.folders("windows") or run.folders("samples"))[0]


def _samples(folder: Path) -> list[Sample]:
    return read_rows(file_of(folder, "samples.jsonl"), Sample)


def _prompt(sample: Sample) -> str:
    return "\n".join(text for text in (sample.system, sample.instruction, sample.input) if text)


def _signals(
    run: Run, ranking: list[dict[str, Any]], reflections: dict[str, Reflection]
) -> dict[str, dict[str, float]]:
    """Values by title and id: the reflections', the scores', and the ranks of signals that neither has."""
    by_name: dict[str, dict[str, float]] = {}
    for id, row in reflections.items():
        for name, value in row.metrics.items():
            by_name.setdefault(name, {})[id] = _rounded(METRICS[name].scale * value)
        by_name.setdefault("nll", {})[id] = _rounded(row.nll)
    verified = False
    for folder in run.folders("grade"):
        metric = read_manifest(folder)["settings"]["metric"]
        verified |= METRICS[metric].is_binary
        for row in read_rows(file_of(folder, "grades.jsonl"), Grade):
            by_name.setdefault(metric, {})[row.id] = _rounded(METRICS[metric].scale * row.mean)
    for folder in run.folders("score"):
        for row in read_dicts(file_of(folder, "signals.jsonl")):
            for name, value in row.items():
                if isinstance(value, float):
                    by_name.setdefault(name, {})[row["id"]] = _rounded(value)
    ranked = [name.removesuffix("_rank") for name in ranking[0] if name.endswith("_rank")]
    known = {*by_name, *([PASS_RATE] if verified else [])}
    alone = {
        f"{name} rank": {row["id"]: row[f"{name}_rank"] for row in ranking} for name in ranked if name not in known
    }
    return {_title(name): values for name, values in by_name.items()} | alone


def _title(name: str) -> str:
    if name in METRICS and METRICS[name].is_binary:
        return graded_title(name)
    return CRITERIA[name].column if name in CRITERIA else name.replace("_", " ")


def held_out_samples(rows: list[Result], outputs: Path) -> list[Samples]:
    """Of every suite that was answered, each sample: id, prompt, reference, then of every checkpoint in `arms` its mean
    score over training and sampling seeds, the first answer, and that answer's own score."""
    suites = dict.fromkeys(row.suite for row in rows if row.metric != READ_BY)
    return [
        _held_out([row for row in rows if row.suite == suite and row.metric != READ_BY], outputs) for suite in suites
    ]


def _held_out(rows: list[Result], outputs: Path) -> Samples:
    answers = [_answers(row, outputs) for row in rows]
    artefact = next(name for name in rows[0].fingerprints if name.startswith("evaluate/"))
    texts = _samples(outputs / read_manifest(outputs / artefact)["inputs"]["samples"])
    found = [
        [sample.id, _prompt(sample), " ‖ ".join(sample.references), *(answered.get(sample.id) for answered in answers)]
        for sample in texts
        if any(sample.id in answered for answered in answers)
    ]
    metric = CRITERIA[rows[0].metric]
    about = {
        "suite": rows[0].suite,
        "column": metric.column,
        "higher_is_better": metric.higher_is_better,
        "decimals": metric.decimals,
        "arms": [{"name": row.arm, "target": row.target, "answers": row.num_runs * row.num_seeds} for row in rows],
    }
    return fitted(Samples(about, found, len(found)))


def _answers(row: Result, outputs: Path) -> dict[str, list[Any]]:
    """By id: mean score, the answer of the first training and sampling seed, its own score."""
    found: dict[str, list[Score]] = {}
    for artefact in row.fingerprints:
        if artefact.startswith("evaluate/"):
            for score in read_rows(file_of(outputs / artefact, "scores.jsonl"), Score):
                found.setdefault(score.id, []).append(score)
    scale = CRITERIA[row.metric].scale
    values = {id: [scale * score.value(row.metric) for score in scores] for id, scores in found.items()}
    return {
        id: [_rounded(sum(each) / len(each)), found[id][0].prediction, _rounded(each[0])] for id, each in values.items()
    }


def _rounded(value: float) -> float:
    """As many digits as a person reads: the page carries thousands of them."""
    return round(value, 3)


def fitted(samples: Samples, budget: int = BUDGET_BYTES) -> Samples:
    """The samples within a budget of bytes: texts cut to the most characters that it allows; where the fewest are still
    too many, every so-many-th sample."""
    limit = longest = max((len(text) for row in samples.rows for text in _all_texts(row)), default=0)
    rows = samples.rows
    for lower in (lower for lower in TEXT_LIMITS if lower < longest):
        if _bytes(rows) <= budget:
            break
        limit, rows = lower, [_cut(row, lower) for row in samples.rows]
    every = max(1, -(-_bytes(rows) // budget))
    return replace(samples, rows=rows[::every], cut_at=limit if limit < longest else None)


def _bytes(rows: list[list[Any]]) -> int:
    return len(json.dumps(rows, ensure_ascii=False).encode())


def _all_texts(row: Sequence[Any]) -> list[str]:
    inner = [text for cell in row if isinstance(cell, list) for text in _all_texts(cell)]
    return [cell for cell in row if isinstance(cell, str)] + inner


def _cut(row: list[Any], limit: int) -> list[Any]:
    return [
        _cut(cell, limit) if isinstance(cell, list) else f"{cell[: limit - 1]}…" if _is_longer(cell, limit) else cell
        for cell in row
    ]


def _is_longer(cell: Any, limit: int) -> bool:
    return isinstance(cell, str) and len(cell) > limit
