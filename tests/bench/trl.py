"""`make bench-trl`: a step of TRL's GKDTrainer against ours, on the same rows with the same loss; `--tiny` to see that
it runs.

Forward KL to a teacher, no cross-entropy: TRL's generalised divergence with `beta=0`, on given responses (`lmbda=0`).
Every run is a process of its own, turn about, and measures seconds a step and its own peak memory. A step is the same
16 rows for all: TRL cuts them into micro-batches of a fixed number, ours by tokens. TRL holds the teacher and runs it
in every step; ours reads the states that one pass of it left on disk, whose cost is stated beside.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, replace
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch

from srd.config import Distill, Method
from srd.distillation.cached import CachedTeacher
from srd.distillation.loss import distillation
from srd.distillation.records import record_of
from srd.distillation.schedules import PhaseLoss
from srd.stages.cache import build
from srd.text.encoding import Encoded
from tests.bench.measure import REPEATS, Figure, ratio
from tests.bench.shapes import CPU, TINY, Shapes
from tests.bench.small import child, peak_bytes
from tests.conftest import ROOT
from tests.small import training

RECIPE = Distill(learning_rate=1e-4, batch_sequences=16)
SIDES = {"4 x 4": (4, "random"), "4 x 4, grouped by length": (4, "group_by_length"), "16 x 1": (16, "random")}
"""TRL's rows a micro-batch, and the order in which its sampler gives them."""
LOSS = PhaseLoss(temperature=1.0, sft_weight=0.0)
MEASURE = "measure"
"""The word for one process of those that are compared."""
STEPS = 3
"""Of a process; the first one is not counted."""
TOLERANCE_NATS = 1e-6
GOALS = {"4 x 4": ">= 2.5", "4 x 4, grouped by length": ">= 1.8", "16 x 1": ">= 4"}


def main() -> int:
    """Measure, compare, print, write `outputs/bench/trl.json`; 1 where the losses are not the same."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trl", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, one process a side")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "trl.json", help="file to write")
    words = parser.parse_args()
    if util.find_spec("trl") is None:
        sys.exit("bench: TRL is not installed; `make bench-trl` does it, or pip install -e '.[trl]'")
    size = "tiny" if words.tiny else "whole"
    with tempfile.TemporaryDirectory() as name:
        cache_seconds = cached(_shapes(size), Path(name))
        found = _turn_about(size, name, 1 if words.tiny else REPEATS)
    # Of the first steps, whose weights are the same.
    first = {side: [run["losses"][0] for run in runs] for side, runs in found.items()}
    apart = max(abs(t - o) for side in SIDES for t, o in zip(first[side], first["ours"], strict=True))
    figures = _figures(found, _shapes(size))
    report = {
        "trl": metadata.version("trl"),
        "threads": torch.get_num_threads(),
        "first_loss_nats": first["ours"][0],
        "losses_apart_nats": apart,
        "losses_nats": {side: runs[0]["losses"] for side, runs in found.items()},
        "cache_seconds_per_row": cache_seconds,
        "figures": {key: asdict(figure) for key, figure in figures.items()},
    }
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _print(report, found, figures)
    print(words.out)
    return int(apart > TOLERANCE_NATS)


def _turn_about(size: str, folder: str, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """What every side's processes measured, one of each a repeat."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in (*SIDES, "ours")}
    for repeat in range(repeats):
        for side, done in found.items():
            done.append(child("tests.bench.trl", MEASURE, side, size, folder))
            seconds = ", ".join(f"{each:.2f}" for each in done[-1]["seconds"])
            print(f"  {side}, {repeat + 1} of {repeats}: {seconds} s a step", flush=True)
    return found


def _figures(found: dict[str, list[dict[str, Any]]], shapes: Shapes) -> dict[str, Figure]:
    """Seconds a step and peak memory, TRL's over ours."""
    rows = _batch(shapes)
    text = f"{shapes.name}, steps of {len(rows)} rows with {sum(row.num_tokens for row in rows):,} tokens"
    figures = {}
    for side, goal in GOALS.items():
        seconds = ([statistics.median(run["seconds"]) for run in found[each]] for each in (side, "ours"))
        figures[f"step, {side}"] = ratio(*seconds, goal, text)
        memory = ([run["peak_bytes"] / 1e9 for run in found[each]] for each in (side, "ours"))
        figures[f"memory, {side}"] = ratio(*memory, ">= 1", f"{text}; GB")
    return figures


def _print(report: dict[str, Any], found: dict[str, list[dict[str, Any]]], figures: dict[str, Figure]) -> None:
    print(f"TRL {report['trl']}, {report['threads']} threads; {next(iter(figures.values())).shapes}")
    for side, runs in found.items():
        seconds = statistics.median(each for run in runs for each in run["seconds"])
        memory = statistics.median(run["peak_bytes"] for run in runs) / 1e9
        times = [figures[f"{what}, {side}"] for what in ("step", "memory")] if side != "ours" else []
        against = "".join(f"  {f.value:.2f}x ({f.spread[0]:.2f} … {f.spread[1]:.2f})" for f in times)
        print(f"  {side:<26} {seconds:8.3f} s a step {memory:6.2f} GB{against}")
    print(
        f"the first step's losses, {report['first_loss_nats']:.6f} nats per token, are "
        f"{report['losses_apart_nats']:.1e} apart (at most {TOLERANCE_NATS:g}); ours reads a cache that was built in "
        f"{report['cache_seconds_per_row']:.3f} s a row, once for all epochs"
    )


def _shapes(size: str) -> Shapes:
    return TINY if size == "tiny" else CPU


def _batch(shapes: Shapes) -> list[Encoded]:
    """The rows of every step."""
    return shapes.rows()[: RECIPE.batch_sequences]


def cached(shapes: Shapes, folder: Path) -> float:
    """Leave the teacher's states of the rows in `folder`; seconds a row."""
    teacher, rows, vocabulary = (
        shapes.model("teacher", torch.device("cpu")),
        _batch(shapes),
        shapes.teacher["vocab_size"],
    )
    width = int(teacher.get_output_embeddings().weight.shape[1])  # pyright: ignore
    record = record_of({"width": width, "dtype": "float32"}, vocabulary)
    begin = time.perf_counter()
    build(teacher.requires_grad_(False), rows, folder, record, shapes.engine, 0, vocabulary)
    return (time.perf_counter() - begin) / len(rows)


def ours(shapes: Shapes, folder: Path) -> dict[str, Any]:
    """Our steps: seconds and losses of each."""
    rows, vocabulary = _batch(shapes), shapes.teacher["vocab_size"]
    teacher = CachedTeacher(folder, vocabulary, torch.device("cpu"))
    objective = distillation(teacher, Method(), vocabulary, shapes.engine)
    student = shapes.model("student", torch.device("cpu"), seed=1).requires_grad_(True)
    with tempfile.TemporaryDirectory() as name:
        made = training(Path(name), student, RECIPE, replace(shapes.engine, device="cpu"))
        seconds, losses = [], []
        for _ in range(STEPS):
            begin = time.perf_counter()
            losses.append(made.updater.step(rows, objective, LOSS)["train/loss_nats"])
            seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds[1:], "losses": losses}


def theirs(shapes: Shapes, rows_each: int, order: str) -> dict[str, Any]:
    """GKDTrainer's steps: seconds and losses of each."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.experimental.gkd import GKDTrainer

    seconds, losses, begin = [], [], [0.0]

    class Measured(GKDTrainer):
        def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
            loss = super().training_step(*arguments, **options)
            losses[-1] += float(loss)
            return loss

    class Timer(TrainerCallback):
        def on_step_begin(self, *arguments: Any, **options: Any) -> None:
            losses.append(0.0)
            begin[0] = time.perf_counter()

        def on_step_end(self, *arguments: Any, **options: Any) -> None:
            seconds.append(time.perf_counter() - begin[0])

    rows = [{"input_ids": row.prompt + row.response, "prompt_tokens": len(row.prompt)} for row in _batch(shapes)]
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as name:
        trainer = Measured(
            model=shapes.model("student", device, seed=1).requires_grad_(True),
            teacher_model=shapes.model("teacher", device).requires_grad_(False),
            args=_arguments(name, rows_each, order),
            data_collator=collate,
            train_dataset=Dataset.from_list(rows),
            processing_class=_tokenizer(),
            callbacks=[Timer()],
        )
        trainer.train()
    assert len(seconds) == len(losses) == STEPS
    return {"seconds": seconds[1:], "losses": losses}


def _arguments(folder: str, rows_each: int, order: str) -> Any:
    """GKDConfig for the same update as ours: AdamW without a schedule, the same decay and clipping, float32, nothing
    recomputed, nothing written."""
    from trl.experimental.gkd import GKDConfig

    return GKDConfig(
        output_dir=folder,
        lmbda=0.0,
        beta=0.0,
        temperature=1.0,
        per_device_train_batch_size=rows_each,
        gradient_accumulation_steps=RECIPE.batch_sequences // rows_each,
        train_sampling_strategy=order,
        max_steps=STEPS,
        learning_rate=RECIPE.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=RECIPE.weight_decay,
        max_grad_norm=RECIPE.clip_norm,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        disable_dropout=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Rows padded on the right to the longest of the micro-batch; prompts and padding are not learned."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[i, :length] = torch.tensor(row["input_ids"])
        mask[i, :length] = 1
        labels[i, row["prompt_tokens"] : length] = ids[i, row["prompt_tokens"] : length]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _tokenizer() -> Any:
    """All that the trainer asks of one: it reads no text here."""
    from tests.small import tokenizer

    return tokenizer()


def _one(what: str, size: str, folder: str) -> dict[str, Any]:
    """What one process measures, with its peak memory."""
    shapes = _shapes(size)
    found = ours(shapes, Path(folder)) if what == "ours" else theirs(shapes, *SIDES[what])
    assert all(math.isfinite(each) for each in found["losses"])
    return {**found, "peak_bytes": peak_bytes()}


if __name__ == "__main__":
    if sys.argv[1:2] == [MEASURE]:
        print(json.dumps(_one(*sys.argv[2:])))
    else:
        sys.exit(main())
