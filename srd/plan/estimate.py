"""An estimate of a run from its config: the models' facts, the lengths of the samples, the speed of the device."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from srd.config import DTYPE_BYTES, Config
from srd.errors import UserError, look_up
from srd.models.device import device
from srd.models.facts import facts_of
from srd.plan.lengths import Folders, lengths_of
from srd.plan.machines import GPUS, Machine, this_machine
from srd.plan.needs import RunEstimate

USABLE = 0.92
"""Share of a device's memory that a run can have; drivers, kernels and fragments take the rest."""


def estimate(cfg: Config, folders: Folders, finished: frozenset[str]) -> RunEstimate:
    """Everything that the sums need for this config; stages that are `finished` need nothing more."""
    lengths = lengths_of(cfg, folders)
    return RunEstimate(cfg, facts_of(cfg, "teacher"), facts_of(cfg, "student"), lengths, _machine(cfg), finished)


def _machine(cfg: Config) -> Machine:
    if cfg.plan.gpu is not None:
        return look_up(GPUS, cfg.plan.gpu, "plan.gpu")
    return this_machine(device(cfg.engine), cfg.engine.precision)


def refuse_unfit(run: RunEstimate) -> None:
    """A `UserError` where the run cannot fit the device's memory or the disk."""
    cfg = run.cfg
    folder = Path(cfg.outputs)
    memory = cfg.plan.memory_gb * 1e9 if cfg.plan.memory_gb is not None else USABLE * run.machine.memory_bytes
    memory = memory if run.machine.is_gpu else memory / cfg.engine.processes
    refuse(run, memory, shutil.disk_usage(folder if folder.is_dir() else ".").free)


def refuse(run: RunEstimate, memory_bytes: float, disk_bytes: float) -> None:
    """A `UserError` for a run that cannot fit, naming the cheapest change that would let it."""
    needs = run.to_do()
    if not needs:
        return
    most = max(needs, key=lambda need: need.memory_bytes)
    if most.memory_bytes > memory_bytes:
        largest = max(most.memory, key=lambda part: most.memory[part])
        raise UserError(
            f"{most.stage} needs {most.memory_bytes / 1e9:.1f} GB of memory and {run.machine.name} has "
            f"{memory_bytes / 1e9:.1f} "
            f"({largest} take {most.memory[largest] / 1e9:.1f}); {_advice(run, memory_bytes)}"
        )
    disk = sum(need.disk_bytes for need in needs)
    if disk > disk_bytes:
        largest = max(needs, key=lambda need: need.disk_bytes)
        raise UserError(
            f"the run needs {disk / 1e9:.1f} GB of disk and {run.cfg.outputs} has {disk_bytes / 1e9:.1f} "
            f"({largest.stage} takes "
            f"{largest.disk_bytes / 1e9:.1f}); use teacher.dtype=bfloat16, teacher.signal=online or another "
            "outputs=FOLDER"
        )


def _advice(run: RunEstimate, memory_bytes: float) -> str:
    """The first change that fits, those that cost nothing before those that cost time and those that change the
    result."""
    for words, changed in changes(run.cfg):
        trial = _with_facts(run, changed)
        most = max(need.memory_bytes for need in trial.to_do())
        if most <= memory_bytes:
            return f"{words} would fit ({most / 1e9:.1f} GB)"
    return "no change of the engine would fit; choose smaller models or a larger device"


def changes(cfg: Config) -> list[tuple[str, Config]]:
    """Settings that need less memory, the cheapest first: each as the words to add to the command, and the config it
    makes."""
    steps: list[tuple[str, Callable[[Config], Config]]] = []
    engine = cfg.engine
    for divisor in (2, 4, 8, 16):
        smaller = {
            "micro_batch_tokens": min(
                engine.micro_batch_tokens, max(cfg.model.max_tokens, engine.micro_batch_tokens // divisor)
            ),
            "loss_positions": min(engine.loss_positions, max(64, engine.loss_positions // divisor)),
            "generation_sequences": max(1, engine.generation_sequences // divisor),
        }
        words = " ".join(f"engine.{key}={value}" for key, value in smaller.items())
        steps.append((words, lambda c, smaller=smaller: replace(c, engine=replace(c.engine, **smaller))))
    least, shrink = steps[-1]
    if not engine.gradient_checkpointing:
        words = f"{least} engine.gradient_checkpointing=true"
        steps.append(
            (words, lambda c: replace(shrink(c), engine=replace(shrink(c).engine, gradient_checkpointing=True)))
        )
    if cfg.teacher.signal == "online" and not cfg.needs_online_teacher:
        steps.insert(0, ("teacher.signal=hidden", lambda c: replace(c, teacher=replace(c.teacher, signal="hidden"))))
    if cfg.model.teacher.dtype == "float32":
        words = f"{least} model.teacher.dtype=bfloat16"
        half = replace(cfg.model.teacher, dtype="bfloat16")
        steps.append((words, lambda c: replace(shrink(c), model=replace(c.model, teacher=half))))
    if cfg.model.student.lora.rank == 0:
        words = f"{least} model.student.lora.rank=16"
        adapted = replace(cfg.model.student, lora=replace(cfg.model.student.lora, rank=16))
        steps.append((words, lambda c: replace(shrink(c), model=replace(c.model, student=adapted))))
    return [(words, change(cfg)) for words, change in steps]


def _with_facts(run: RunEstimate, cfg: Config) -> RunEstimate:
    """The same run under another config; what a smaller weight type or an adapter changes is scaled, not built
    again."""
    teacher = replace(run.teacher, weight_bytes=DTYPE_BYTES[cfg.model.teacher.dtype])
    student = run.student
    if cfg.model.student.lora.rank > 0 and student.trainable == student.parameters:
        # Rank r by inputs and outputs of all linear layers of a block: of attention four of one width and one width, of
        # the MLP three of one width and about three.
        student = replace(student, trainable=20 * cfg.model.student.lora.rank * student.hidden * student.layers)
    return replace(run, cfg=cfg, teacher=teacher, student=student)
