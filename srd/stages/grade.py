"""grade: what one metric says of the answers that a reflection has kept.

A stage of its own, one artefact a metric, so that arms with other signals share the answers: none is written twice,
and no metric is taken twice either.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from srd.config import Code, Pair
from srd.metrics import blind_share, metrics_of_all
from srd.selection.ranking import REFLECTIONS
from srd.stages.inputs import embedder_of, read_samples
from srd.store.artefacts import Work
from srd.store.columns import Columns, read_columns
from srd.store.partial import Counts, Tick, block, fill
from srd.store.rows import Grade, Reflection, Sample, read_rows

GRADES = "grades.jsonl"


@dataclass
class Settings:
    """What decides the grades."""

    metric: str
    code: Code | None = None
    """How answers are executed, where the metric does."""
    encoder: dict[str, Any] | None = None
    """Identity of what they are read with, where the metric does."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave `grades.jsonl`: the metric of every answer to a prompt, and their mean."""
    name, samples = work.settings.metric, read_samples(work, "train")
    reflections = {row.id: row for row in read_rows(work.inputs[REFLECTIONS] / "reflections.jsonl", Reflection)}
    embedder = embedder_of(work, work.settings.encoder)
    work.ledger["blind"] = {name: blind_share(name, samples)}

    def compute(batch: list[Sample], tick: Tick) -> tuple[list[Grade], Counts]:
        asked = [(answer, sample) for sample in batch for answer in reflections[sample.id].answers]
        answers, of_samples = zip(*asked, strict=True)
        values = iter(metrics_of_all(answers, of_samples, [name], work.settings.code, embedder))
        grades = [graded(row.id, [next(values)[name] for _ in reflections[row.id].answers]) for row in batch]
        tick(len(batch))
        return grades, {"graded_answers": len(asked)}

    fill(work, GRADES, sorted(samples, key=lambda sample: sample.id), block(work.engine), compute, _id)


def graded(id: str, values: list[float]) -> Grade:
    """The values of a sample's answers with their mean."""
    return Grade(id, fmean(values), values)


def read_grades(folder: Path, signal: str) -> Columns:
    """The columns `id` and the name of a signal, which is the mean."""
    found = read_columns(folder / GRADES, {"id": str, "mean": float})
    return {"id": found["id"], signal: found["mean"]}


def _id(row: dict[str, Any]) -> str:
    return row["id"]
