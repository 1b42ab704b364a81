"""Distillation at chosen positions, from drawn classes and on chosen samples, against all of them: packed text of 512
tokens."""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from srd.config import Classes, Distill, Engine, Method, Positions
from srd.distillation.cached import CachedTeacher
from srd.distillation.choosing import Chooser
from srd.distillation.loss import Objective, distillation
from srd.distillation.objective import objective
from srd.distillation.records import record_of
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher, TeacherSignal
from srd.models.device import device
from srd.stages.cache import build
from srd.text.encoding import Encoded
from srd.training.loop import Training
from tests.bench.distill import Plain
from tests.bench.measure import REPEATS, Figure, cost, ratio, timed, turn_about
from tests.bench.shapes import Shapes
from tests.bench.small import LARGE_PAGES, child, peak_bytes
from tests.small import training

KEPT = 0.2
"""Of the positions, and of the samples."""
PASSES = 5
"""Over the data, where there are several: a live teacher reads it at each, scores and cache are made once."""
KD = PhaseLoss(temperature=1.0, sft_weight=0.0)
"""SE-KD trains on the divergence alone."""
VOCABULARY, POSITIONS = 151_936, 2048


def figures(shapes: Shapes, repeats: int = REPEATS) -> dict[str, Figure]:
    """`positions_step`, `sekd_3x_total`, `sekd_3x_passes` and `sampled_bytes`."""
    with tempfile.TemporaryDirectory() as name:
        return {**_steps(shapes, repeats, Path(name)), "sampled_bytes": sampled_bytes()}


def packed(shapes: Shapes, count: int) -> list[Encoded]:
    """Windows of random ids without a prompt."""
    width, generator = shapes.padded_tokens, torch.Generator().manual_seed(3)
    rows = torch.randint(3, shapes.teacher["vocab_size"], (count, width), generator=generator).tolist()
    return [Encoded(f"{i:016x}", row[:1], row[1:], False) for i, row in enumerate(rows)]


def _steps(shapes: Shapes, repeats: int, folder: Path) -> dict[str, Figure]:
    where, rows, vocabulary = device(shapes.engine), packed(shapes, 4), shapes.teacher["vocab_size"]
    teacher = shapes.model("teacher", where).requires_grad_(False)
    tokens = sum(row.num_tokens for row in rows)
    sampled = record_of({"signal": "sampled", "classes": vars(Classes())}, vocabulary)
    hidden = record_of({"width": int(teacher.get_output_embeddings().weight.shape[1]), "dtype": "float32"}, vocabulary)
    caches, build_seconds = {}, []
    for name, record in (("hidden", hidden), ("sampled", sampled)):
        (folder / name).mkdir()
        spent, _ = timed(build, teacher, rows, folder / name, record, shapes.engine, 0, vocabulary)
        build_seconds.append(spent)
        caches[name] = CachedTeacher(folder / name, vocabulary, where)
    top = Positions(policy="top", signal="student_entropy", share=KEPT)
    sides = {
        "dense": _training(shapes, caches["hidden"], None, folder / "dense", vocabulary),
        "chosen": _training(shapes, caches["hidden"], top, folder / "chosen", vocabulary),
        "3X": _training(shapes, caches["sampled"], top, folder / "3x", vocabulary),
    }
    plain = Plain(shapes.model("student", where, seed=1), teacher, shapes, KD)
    student = sides["dense"][0].state.model
    work: dict[str, Any] = {
        name: lambda i, run=run, loss=loss: run.updater.step(rows, loss, KD) for name, (run, loss) in sides.items()
    }
    work |= {"plain": lambda i: plain.step(rows, shapes.padded_tokens)}
    work |= {"score": lambda i: _score(student, rows, vocabulary, shapes.engine)}
    seconds, _ = turn_about(work, repeats)
    text = f"{shapes.name}, steps of {len(rows)} windows of {shapes.padded_tokens} tokens, {KEPT:.0%} of the positions"
    total = f"{text} and of the samples, 64 drawn classes; against a live teacher and dense logits, all of all samples"
    parts = {name: statistics.median(each) / tokens for name, each in seconds.items()}
    return {
        "positions_step": ratio(seconds["dense"], seconds["chosen"], ">= 1.3", text, seconds_per_token=parts),
        "sekd_3x_total": _total(seconds, build_seconds[1], 1, f"{total}, one pass"),
        "sekd_3x_passes": _total(seconds, build_seconds[1], PASSES, f"{total}, {PASSES} passes"),
    }


def _total(seconds: dict[str, list[float]], build_seconds: float, passes: int, text: str) -> Figure:
    """Full KD by SE-KD 3X of as many passes: of every sample a score; of those kept one pass of the teacher, and in
    each pass the training."""
    ours = [
        scored + KEPT * (build_seconds + passes * trained)
        for scored, trained in zip(seconds["score"], seconds["3X"], strict=True)
    ]
    return ratio([passes * plain for plain in seconds["plain"]], ours, ">= 5", text, build_seconds=build_seconds)


def _training(
    shapes: Shapes, teacher: TeacherSignal, positions: Positions | None, folder: Path, vocabulary: int
) -> tuple[Training, Objective]:
    """A student under training, and its loss."""
    student = shapes.model("student", device(shapes.engine), seed=1).requires_grad_(True)
    chooser = Chooser(positions, teacher, vocabulary, shapes.engine.loss_positions) if positions else None
    run = training(folder, student, Distill(learning_rate=1e-4), shapes.engine, chooser=chooser)
    return run, objective(teacher, Method(), vocabulary, shapes.engine, chooser)


@torch.no_grad()
def _score(student: Any, rows: list[Encoded], vocabulary: int, engine: Engine) -> None:
    """The student's entropy at every position of the rows."""
    from srd.distillation.choosing import StepView
    from srd.models.heads import hidden_at
    from srd.text.batches import collate, pack

    teacher = OnlineTeacher(student, vocabulary)
    chooser = Chooser(Positions(policy="top"), teacher, vocabulary, engine.loss_positions)
    chooser.step = StepView(student, 0, 0.0, rows, lambda some: iter(()), torch.no_grad)
    for part in pack(rows, engine.micro_batch_tokens):
        batch = collate(part, 0).to(student.device)
        hidden = hidden_at(student, batch)
        chooser.values(["student_entropy"], batch, student, hidden, hidden)


def sampled_bytes() -> Figure:
    """Bytes of a position as float32 hidden states of 4,096 numbers, by those of 64 draws."""
    sampled = record_of({"signal": "sampled", "classes": vars(Classes())}, VOCABULARY)
    each = sampled.width * sampled.dtype.itemsize
    text = f"hidden size 4,096, {VOCABULARY:,} classes; 64 draws take {each} bytes"
    return cost([4 * 4096 / each], "times", ">= 60", text)


def positions_memory() -> Figure:
    """Peak memory that a loss and its gradient add over a large vocabulary: at all positions, and at chosen ones."""
    peaks: dict[str, list[float]] = {"dense": [], "chosen": []}
    for _ in range(REPEATS):
        for side, found in peaks.items():
            found.append(child("tests.bench.selection", side, **LARGE_PAGES)["extra_bytes"])
    text = f"{POSITIONS:,} positions x {VOCABULARY:,} classes, chunks of 512, {KEPT:.0%} of the positions by entropy"
    return ratio(peaks["dense"], peaks["chosen"], ">= 1", text)


def _memory(side: str) -> dict[str, float]:
    """Bytes that the loss and its gradient add to this process at their peak."""
    from srd.distillation.choosing import StepView
    from srd.text.batches import collate
    from tests.small import model

    teacher, student = (model(vocabulary=VOCABULARY, seed=seed) for seed in (1, 2))
    signal = OnlineTeacher(teacher.requires_grad_(False), VOCABULARY)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, VOCABULARY, (4, POSITIONS // 4 + 1), generator=generator).tolist()
    rows = [Encoded(f"{i:016x}", row[:1], row[1:], False) for i, row in enumerate(ids)]
    chooser = Chooser(Positions(policy="top", share=KEPT), signal, VOCABULARY, 512) if side == "chosen" else None
    if chooser is not None:
        chooser.begin(StepView(student, 0, 0.0, rows, lambda some: iter(()), torch.no_grad))
        loss = objective(signal, Method(), VOCABULARY, Engine(), chooser)
    else:
        loss = distillation(signal, Method(), VOCABULARY)
    student.requires_grad_(True)
    batch = collate(rows, 0)
    before = peak_bytes()
    (loss(student, batch, KD).loss / POSITIONS).backward()
    return {"extra_bytes": peak_bytes() - before}


if __name__ == "__main__":
    print(json.dumps(_memory(sys.argv[1])))
