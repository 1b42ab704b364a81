"""What a plan rests on: the models' facts, the lengths of the samples, the speed of the device; and what it says of a
run."""

import os
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from srd import graph, stages
from srd.config import Config, Plan
from srd.errors import UserError, look_up
from srd.models.device import device
from srd.models.facts import facts_of
from srd.models.load import load_tokenizer
from srd.plan import GPUS, Lengths, Machine, Reckoning, refuse
from srd.runtime.progress import say
from srd.store.artefacts import Node, closure
from srd.store.manifests import long_name
from srd.store.rows import Sample, read_rows
from srd.text.encoding import encode

MEASURED = 4000
"""Samples whose lengths are measured: the stages tokenise all of them anyway, a plan need not."""
USABLE = 0.92
"""Share of a device's memory that a run can have; drivers, kernels and fragments take the rest."""
PROBE = {"cuda": 8192, "cpu": 1024, "mps": 2048}
"""Side of the square matrices whose product measures a device: large enough that starting it takes no time beside
it."""
PROBES = 5
"""Products, or copies, that are timed together, and how often."""


def reckon(cfg: Config) -> Reckoning:
    """Everything that the sums need, for this config."""
    machine = (
        look_up(GPUS, cfg.plan.gpu, "plan.gpu")
        if cfg.plan.gpu is not None
        else this_machine(device(cfg.engine), cfg.engine.precision)
    )
    return Reckoning(cfg, facts_of(cfg, "teacher"), facts_of(cfg, "student"), lengths_of(cfg), machine, finished(cfg))


def finished(cfg: Config) -> frozenset[str]:
    """The stages whose artefacts are there; none in a plan for other data or another machine, nor where the data is not
    at hand."""
    if cfg.plan != Plan():
        return frozenset()
    try:
        nodes = closure([graph.distill(cfg), *graph.evaluations(cfg)])
    except UserError:
        return frozenset()
    names = [(long_name(node.stage, node.settings), node.is_complete(cfg.outputs)) for node in nodes]
    return frozenset(name for name, _ in names) - {name for name, complete in names if not complete}


def check(reckoning: Reckoning) -> None:
    """A `UserError` where the run cannot fit the device's memory or the disk."""
    cfg = reckoning.cfg
    folder = Path(cfg.outputs)
    memory = cfg.plan.memory_gb * 1e9 if cfg.plan.memory_gb is not None else USABLE * reckoning.machine.memory_bytes
    memory = memory if reckoning.machine.is_gpu else memory / cfg.engine.processes
    refuse(reckoning, memory, shutil.disk_usage(folder if folder.is_dir() else ".").free)


def lengths_of(cfg: Config) -> Lengths:
    """How many rows there are and how long: as `plan` gives them, else measured on the samples, which are made where
    they are missing."""
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
    """Rows, mean prompt and response tokens, and the longest row of the training samples; lengths of a few thousand
    stand for all."""
    node = graph.samples(cfg.dataset)
    path = _made(cfg, node)
    inputs = {name: _made(cfg, child) for name, child in graph.tokenizer(cfg).items()}
    samples = [sample for sample in read_rows(path / "samples.jsonl", Sample) if sample.split == "train"]
    if not samples:
        raise UserError(f"{path}: no train samples; use more data")
    tokenizer = load_tokenizer(cfg, inputs)
    rows = [encode(sample, tokenizer, cfg.model) for sample in samples[:: 1 + len(samples) // MEASURED]]
    prompts, responses = (sum(len(getattr(row, part)) for row in rows) / len(rows) for part in ("prompt", "response"))
    return len(samples), prompts, responses, max(row.num_tokens for row in rows)


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
    side = PROBE[where.type]
    a = torch.ones(side, side, device=where, dtype=getattr(torch, precision))
    flops = 2 * side**3 / _seconds(lambda: a @ a)
    large = torch.ones(16, side, 1024, device=where)
    copied = 2 * large.nbytes / _seconds(large.clone)
    return Machine(name, memory, flops, flops, copied, is_gpu=where.type == "cuda")


def _seconds(work: Callable[[], torch.Tensor]) -> float:
    """Seconds of one piece of work: the best of a few tries, each of several in a row; the first, which warms up, is
    not among them."""
    best = float("inf")
    for attempt in range(PROBES + 1):
        begin = time.perf_counter()
        for _ in range(PROBES):
            result = work()
        float(result.flatten()[0])  # waits for the device  # pyright: ignore[reportPossiblyUnboundVariable]
        best = min(best, (time.perf_counter() - begin) / PROBES) if attempt else best
    return best


def foresee(cfg: Config) -> dict[str, dict[str, float]]:
    """The plan of a run as its study files it, by stage; a run that seems not to fit is told so and goes on, for a plan
    may err."""
    needs = []
    try:
        reckoning = reckon(cfg)
        needs = reckoning.needs()
        check(reckoning)
    except UserError as error:
        say(f"the plan says: {error}")
    return {
        need.stage: {
            "seconds": need.seconds,
            "flops": need.flops,
            "memory_bytes": need.memory_bytes,
            "disk_bytes": need.disk_bytes,
        }
        for need in needs
    }
