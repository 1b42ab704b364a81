"""Distillation as the published code and the common trainers do it, against ours: same weights, same losses, less
work."""

import math
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from srd.config import Distill, Method
from srd.distillation.cached import CachedTeacher
from srd.distillation.loss import Objective, distillation
from srd.distillation.records import Record, record_of
from srd.distillation.reference import reference_nll
from srd.distillation.schedules import PhaseLoss
from srd.models.device import autocast, device
from srd.models.load import num_parameters
from srd.plan.machines import this_machine
from srd.stages.cache import build
from srd.text.batches import collate, pack
from srd.text.encoding import Encoded
from srd.training.loop import Training
from tests.bench.measure import REPEATS, Figure, ratio, timed, turn_about
from tests.bench.shapes import Shapes
from tests.small import training

RECIPE = Distill(learning_rate=1e-4, batch_sequences=16)
LOSS = PhaseLoss(temperature=1.0, sft_weight=0.3)
PLAIN_EPOCHS, PASSES = 20, 12
"""Of SRD's GPT-2 setting: 20 plain epochs; 3 phases of 8 epochs over 1/4, 2/4 and 3/4 of the rows are 12 passes."""


class Plain:
    """The plain thing: every row padded to one width, the teacher in every step, the full float32 logits of both."""

    def __init__(
        self, student: PreTrainedModel, teacher: PreTrainedModel, shapes: Shapes, settings: PhaseLoss = LOSS
    ) -> None:
        self.student, self.teacher, self.shapes = student.requires_grad_(True), teacher, shapes
        self.sft_weight = settings.sft_weight
        groups = [
            {"params": [p for p in student.parameters() if p.ndim >= 2], "weight_decay": RECIPE.weight_decay},
            {"params": [p for p in student.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=RECIPE.learning_rate, fused=next(student.parameters()).is_cuda)

    def step(self, rows: list[Encoded], width: int) -> float:
        """One update on `rows` padded to `width`; the loss, nats per token."""
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask, supervised = torch.zeros_like(ids), torch.zeros(len(rows), width, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : row.num_tokens] = torch.tensor(row.prompt + row.response)
            mask[i, : row.num_tokens] = 1
            supervised[i, len(row.prompt) : row.num_tokens] = True
        ids, mask, supervised = (tensor.to(self.student.device) for tensor in (ids, mask, supervised))
        with autocast(self.student.device, self.shapes.engine):
            with torch.no_grad():
                teacher_logits = self.teacher(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            logits = self.student(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        loss = _loss(teacher_logits, logits, ids[:, 1:], supervised[:, 1:], self.sft_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), RECIPE.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())


def _loss(teacher_logits: Tensor, logits: Tensor, targets: Tensor, mask: Tensor, sft_weight: float) -> Tensor:
    """α·CE + (1-α)·KL over everything, masked at the end."""
    logq = torch.log_softmax(logits, -1)
    kl = torch.nn.functional.kl_div(logq, torch.log_softmax(teacher_logits, -1), reduction="none", log_target=True).sum(
        -1
    )
    ce = -logq.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    values = sft_weight * ce + (1 - sft_weight) * kl
    return (values * mask).sum() / mask.sum()


def figures(shapes: Shapes, repeats: int = REPEATS, goals: tuple[str, str] = (">= 7", ">= 3.4")) -> dict[str, Figure]:
    """`distill_vs_padded`, `distill_vs_dynamic`, `cache_build`, and what `run_total` is made of."""
    with tempfile.TemporaryDirectory() as name:
        return _figures(shapes, repeats, goals, Path(name))


def _figures(shapes: Shapes, repeats: int, goals: tuple[str, str], folder: Path) -> dict[str, Figure]:
    where, rows, size = device(shapes.engine), shapes.rows(), shapes.batch_sequences
    batch = rows[:size]
    teacher = shapes.model("teacher", where).requires_grad_(False)
    built = cache_build(shapes, teacher, batch, folder, repeats)
    vocabulary = shapes.teacher["vocab_size"]
    build(teacher, batch, _new(folder / "cache"), _stored(shapes, teacher), shapes.engine, 0, vocabulary)
    objective = distillation(CachedTeacher(folder / "cache", vocabulary, where), Method(), vocabulary, shapes.engine)
    student = shapes.model("student", where, seed=1).requires_grad_(True)
    ours = training(folder, student, RECIPE, shapes.engine)
    plain = {name: Plain(shapes.model("student", where, seed=1), teacher, shapes) for name in ("padded", "dynamic")}
    peak: dict[str, int] = {}

    def run(side: str) -> float:
        if where.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        if side == "ours":
            loss = ours.updater.step(batch, objective, LOSS)["train/loss_nats"]
        else:
            loss = plain[side].step(
                batch, shapes.padded_tokens if side == "padded" else max(row.num_tokens for row in batch)
            )
        if where.type == "cuda":
            peak[side] = torch.cuda.max_memory_allocated()
        return loss

    for side in ("ours", "padded", "dynamic") if where.type == "cuda" else ():
        run(side)  # kernels are chosen and memory is claimed once
    seconds, losses = turn_about(
        {side: lambda i, side=side: run(side) for side in ("padded", "dynamic", "ours")}, repeats
    )
    tolerance = 2e-2 if shapes.engine.precision == "bfloat16" else 1e-4
    for side in ("padded", "dynamic"):
        assert all(math.isclose(a, b, rel_tol=tolerance) for a, b in zip(losses[side], losses["ours"], strict=True)), (
            side,
            losses,
        )
    tokens = sum(row.num_tokens for row in batch)
    longest = max(row.num_tokens for row in batch)
    text = f"{shapes.name}, steps of {size} rows with {tokens:,} tokens, the longest {longest}"
    more = {"losses": losses["ours"], "peak_memory_bytes": peak} | _rates(shapes, student, seconds["ours"], tokens)
    dynamic = f"{text}; against padding to the longest of the step"
    figures = {
        "distill_vs_padded": ratio(
            seconds["padded"], seconds["ours"], goals[0], f"{text}; against {shapes.padded_tokens}", **more
        ),
        "distill_vs_dynamic": ratio(seconds["dynamic"], seconds["ours"], goals[1], dynamic),
        "cache_build": built,
    }
    if shapes.profiled:
        figures["distill_vs_padded"].details["profile"] = _profile(lambda: run("ours"))
    if shapes.compiled:
        loss = distillation(
            CachedTeacher(folder / "cache", vocabulary, where),
            Method(),
            vocabulary,
            replace(shapes.engine, compile=True),
        )
        figures["compile"] = _compiled(ours, batch, objective, loss, text)
    figures["cache_build"].details["scoring_seconds_per_row"] = _scoring(shapes, student, batch)
    return figures


def _compiled(run: Training, rows: list[Encoded], objective: Objective, compiled: Objective, text: str) -> Figure:
    """Our step against our step with `engine.compile`; the first two compile, for one size and for all, and are not
    counted."""
    first = [timed(run.updater.step, rows, compiled, LOSS)[0] for _ in range(2)]
    sides = {"as it is": objective, "compiled": compiled}
    seconds, _ = turn_about(
        {name: lambda i, side=side: run.updater.step(rows, side, LOSS) for name, side in sides.items()}, 2 * REPEATS
    )
    return ratio(seconds["as it is"], seconds["compiled"], ">= 1", text, first_steps_seconds=first)


def cache_build(shapes: Shapes, teacher: PreTrainedModel, rows: list[Encoded], folder: Path, repeats: int) -> Figure:
    """One pass of the teacher's body over the same batches, against building the cache."""

    @torch.no_grad()
    def passes(repeat: int) -> None:
        for part in pack(rows, shapes.engine.micro_batch_tokens):
            batch = collate(part, 0).to(teacher.device)
            with autocast(teacher.device, shapes.engine):
                teacher.base_model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids
                )

    passes(0)
    record, vocabulary = _stored(shapes, teacher), shapes.teacher["vocab_size"]
    sides = {
        "pass": passes,
        "build": lambda i: build(teacher, rows, _new(folder / f"build-{i}"), record, shapes.engine, 0, vocabulary),
    }
    seconds, _ = turn_about(sides, repeats)
    text = f"{shapes.name}, {len(rows)} rows of {sum(row.num_tokens for row in rows)} tokens"
    return ratio(
        seconds["pass"],
        seconds["build"],
        ">= 0.9",
        text,
        seconds_per_row=statistics.median(seconds["build"]) / len(rows),
    )


def run_total(figures: dict[str, Figure], shapes: Shapes) -> Figure:
    """A whole plain run in reference style against a whole SRD run, per training row, from the measured parts."""
    padded, size = figures["distill_vs_padded"].details, shapes.batch_sequences
    build_seconds = figures["cache_build"].details["seconds_per_row"]
    reflect_seconds = statistics.median(figures["reflect"].details["ours"]) / figures["reflect"].details["answers"]
    reflect_seconds += figures["cache_build"].details["scoring_seconds_per_row"]
    theirs = [PLAIN_EPOCHS * seconds / size for seconds in padded["theirs"]]
    ours = [PASSES * seconds / size + build_seconds + reflect_seconds for seconds in padded["ours"]]
    text = (
        f"extrapolated to one training row: {PLAIN_EPOCHS} reference passes, against {PASSES} of ours, one cache row "
        f"({build_seconds:.3f} s) and one reflection ({reflect_seconds:.3f} s, answered by "
        f"{figures['reflect'].details['model']})"
    )
    return ratio(theirs, ours, ">= 9", text)


def _scoring(shapes: Shapes, student: PreTrainedModel, rows: list[Encoded]) -> float:
    """Seconds a row of the student's pass over the references."""

    class Tokens(list[int]):  # all that scoring asks of a tokenizer
        pad_token_id = 0

    vocabulary: Any = Tokens(range(shapes.teacher["vocab_size"]))
    spent, _ = timed(lambda: reference_nll(student, rows, vocabulary, shapes.engine))
    return spent / len(rows)


def _rates(shapes: Shapes, student: PreTrainedModel, seconds: list[float], tokens: float) -> dict[str, float]:
    """Tokens a second of our step, and the share of this device's matrix speed that its model FLOPs are: 6 a student
    weight and token.

    Padding, the teacher's head and everything that is no matrix product count as nothing.
    """
    rate = tokens / statistics.median(seconds)
    machine = this_machine(student.device, shapes.engine.precision)
    peak = machine.bfloat16_flops if shapes.engine.precision == "bfloat16" else machine.float32_flops
    return {
        "tokens_per_second": rate,
        "model_flops_utilisation": 6 * num_parameters(student) * rate / peak,
        "measured_peak_flops": peak,
    }


def _profile(step: Callable[[], object]) -> list[list[Any]]:
    """Where the time of a step goes: the twelve largest operations, each with its share of the device's time."""
    cuda = torch.cuda.is_available()
    kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=kinds) as seen:
        step()
    name = "self_device_time_total" if cuda else "self_cpu_time_total"
    spent = sorted(((getattr(op, name), op.key) for op in seen.key_averages()), reverse=True)
    total = sum(time for time, _ in spent)
    return [[key, round(time / total, 4)] for time, key in spent[:12]]


def _stored(shapes: Shapes, teacher: PreTrainedModel) -> Record:
    """Hidden states in the type in which they are computed."""
    width = int(teacher.get_output_embeddings().weight.shape[1])  # pyright: ignore
    return record_of({"width": width, "dtype": shapes.engine.precision}, shapes.teacher["vocab_size"])


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
