"""What a plan rests on: the models' facts, the lengths of the samples, the speed of the device; and what it says of a run."""

import os
import shutil
import time
from functools import cache
from pathlib import Path

import torch

from srd import graph, stages
from srd.architecture import facts_of
from srd.artefacts import Node
from srd.config import Config
from srd.errors import UserError, look_up
from srd.models import device, load_tokenizer
from srd.plan import GPUS, Lengths, Machine, Reckoning, refuse
from srd.progress import say
from srd.rows import Sample, read_rows
from srd.tokens import encode_all

PROBE = 1024
"""Side of the square matrices whose product measures a device."""


def reckon(cfg: Config) -> Reckoning:
    """Everything that the sums need, for this config."""
    machine = (
        look_up(GPUS, cfg.plan.gpu, "plan.gpu") if cfg.plan.gpu is not None else this_machine(device(cfg.engine), cfg.engine.precision)
    )
    return Reckoning(cfg, facts_of(cfg, "teacher"), facts_of(cfg, "student"), lengths_of(cfg), machine)


def check(reckoning: Reckoning) -> None:
    """A `UserError` where the run cannot fit the device's memory or the disk."""
    cfg = reckoning.cfg
    folder = Path(cfg.outputs)
    memory = cfg.plan.memory_gb * 1e9 if cfg.plan.memory_gb is not None else reckoning.machine.memory_bytes
    refuse(reckoning, memory, shutil.disk_usage(folder if folder.is_dir() else ".").free)


def lengths_of(cfg: Config) -> Lengths:
    """How many rows there are and how long: as `plan` gives them, else measured on the samples, which are made where they are missing."""
    plan = cfg.plan
    tests = {name: plan.test_samples or _count(cfg, graph.suite(cfg, name), "test") for name in cfg.evaluate.suites}
    given = (plan.samples, plan.prompt_tokens, plan.response_tokens)
    if None not in given:
        samples, prompt, response, longest = *given, cfg.model.max_tokens
    else:
        measured = _measured(cfg)
        samples, prompt, response = (a if a is not None else b for a, b in zip(given, measured, strict=False))
        longest = measured[3]
    return Lengths(int(samples), tests, prompt, response, plan.answer_tokens or response, longest)  # pyright: ignore


def _count(cfg: Config, node: Node, split: str) -> int:
    return sum(sample.split == split for sample in read_rows(_made(cfg, node) / "samples.jsonl", Sample))


def _measured(cfg: Config) -> tuple[int, float, float, int]:
    """Rows, mean prompt and response tokens, and the longest row of the training samples."""
    node = graph.samples(cfg.dataset)
    path = _made(cfg, node)
    inputs = {name: _made(cfg, child) for name, child in graph.tokenizer(cfg).items()}
    samples = [sample for sample in read_rows(path / "samples.jsonl", Sample) if sample.split == "train"]
    if not samples:
        raise UserError(f"{path}: no train samples; use more data")
    rows = encode_all(samples, load_tokenizer(cfg, inputs), cfg.model)
    count = len(rows)
    prompts, responses = (sum(len(getattr(row, part)) for row in rows) / count for part in ("prompt", "response"))
    return count, prompts, responses, max(row.num_tokens for row in rows)


def _made(cfg: Config, node: Node) -> Path:
    """The folder of an artefact that every run needs first."""
    return node.folder(cfg.outputs) if node.is_complete(cfg.outputs) else stages.make(cfg, node)


@cache
def this_machine(where: torch.device, precision: str) -> Machine:
    """The device at hand: its memory, the speed of a matrix product and of a copy, the best of a few tries."""
    if where.type == "cuda":
        name, memory = torch.cuda.get_device_name(where), torch.cuda.get_device_properties(where).total_memory
    else:
        name, memory = f"this machine's {where.type}", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    flops = 2 * PROBE**3 / _seconds(where, getattr(torch, precision), True)
    copied = 2 * 4 * PROBE**2 * 16 / _seconds(where, torch.float32, False)
    return Machine(name, memory, flops, flops, copied)


def _seconds(where: torch.device, dtype: torch.dtype, product: bool) -> float:
    """Seconds of a matrix product, or of a copy of sixteen such matrices."""
    a = torch.ones(PROBE if product else 16 * PROBE, PROBE, device=where, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        result = a @ a if product else a.clone()
        float(result[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - begin)
    return best


def foresee(cfg: Config) -> dict[str, dict[str, float]]:
    """The plan of a run as its study files it, by stage; a run that seems not to fit is told so and goes on, for a plan may err."""
    reckoning = reckon(cfg)
    try:
        check(reckoning)
    except UserError as error:
        say(f"the plan says: {error}")
    needs = reckoning.needs()
    return {
        need.stage: {"seconds": need.seconds, "flops": need.flops, "memory_bytes": need.memory_bytes, "disk_bytes": need.disk_bytes}
        for need in needs
    }
