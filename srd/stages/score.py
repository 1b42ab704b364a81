"""score: models read every training sample's reference, once for all arms; no answer is written.

A family of signals is one artefact: what the student alone makes of a reference, or what the teacher does, with the
student beside it.
"""

from dataclasses import dataclass
from typing import Any

from srd.config import Pair, Text
from srd.distillation.scoring import reference_means, signal_values
from srd.selection.importance import SMALLEST_NLL
from srd.stages.inputs import read_model, read_samples
from srd.stages.reading import fill_readings
from srd.store.artefacts import Work
from srd.text.encoding import Encoded, encode_all

OF_STUDENT = ("student_nll", "student_entropy")
OF_TEACHER = ("teacher_nll", "forward_kl", "student_nll")
"""What a family measures at every position, by the names of `IMPORTANCE`."""

Row = dict[str, Any]


@dataclass
class Settings:
    """What decides the scores."""

    family: str
    """student or teacher."""
    text: Text
    student: dict[str, Any]
    """Identity of the student's weights before distillation."""
    teacher: dict[str, Any] | None = None
    """Identity of the teacher's; none: it is not read."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave `signals.jsonl`, all in nats, means over the supervised positions: `id, nll, student_entropy`, or
    `id, teacher_nll, forward_kl, nll_ratio`."""
    settings, engine = work.settings, work.engine
    student = read_model(work, "student", settings.student)
    teacher = read_model(work, "teacher", settings.teacher) if settings.teacher is not None else None
    if teacher is None:
        measure = signal_values(OF_STUDENT, student.vocabulary, engine.loss_positions, student.model)
        columns, readers = _of_student, [student.parameters]
    else:
        measure = signal_values(OF_TEACHER, student.vocabulary, engine.loss_positions, student.model, teacher.model)
        columns, readers = _of_teacher, [student.parameters, teacher.parameters]

    def read(rows: list[Encoded]) -> list[Row]:
        means = reference_means(measure, rows, student.pad_id, student.model.device, engine)
        return [{"id": row.id, **columns(values)} for row, values in zip(rows, means, strict=True)]

    rows = encode_all(read_samples(work, "train"), student.tokenizer, settings.text)
    fill_readings(work, "signals.jsonl", rows, readers, read)


def _of_student(means: list[float]) -> dict[str, float]:
    nll, entropy = means
    return {"nll": nll, "student_entropy": entropy}


def _of_teacher(means: list[float]) -> dict[str, float]:
    """With the ratio of both NLLs, which SE-KD (arXiv 2602.01395) takes of single positions."""
    teacher_nll, forward_kl, student_nll = means
    ratio = student_nll / max(teacher_nll, SMALLEST_NLL)
    return {"teacher_nll": teacher_nll, "forward_kl": forward_kl, "nll_ratio": ratio}
