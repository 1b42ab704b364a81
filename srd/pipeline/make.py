"""Making artefacts: the stages of a node and of everything that it is made from, run in order.

A stage is a module with its `Settings` and `make(work)`: it reads its settings and inputs, computes and writes into
`work.path`; `srd.store.artefacts.build` does the rest. Modules are imported when a stage runs, so that a run with
nothing to do loads no model library.
"""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from srd.config import Config, Evaluate
from srd.errors import UserError, first_line
from srd.metrics import BLIND, CRITERIA, METRICS
from srd.pipeline import graph
from srd.pipeline.catalogue import STAGES
from srd.pipeline.settings import metrics_read
from srd.runtime import processes
from srd.selection.ranking import some_kept
from srd.store.artefacts import Node, Work, build, closure
from srd.store.manifests import read_manifest
from srd.store.provenance import peak_memory_bytes
from srd.store.rows import Sample, read_rows

HINTS = {
    "OutOfMemoryError": "out of memory; lower engine.generation_sequences, engine.micro_batch_tokens or "
    "engine.loss_positions and run the same command again (`srd plan` says what takes how much)",
    "MemoryError": "out of memory; lower engine.generation_sequences, engine.micro_batch_tokens or "
    "engine.loss_positions, or free some, and run the same command again (`srd plan` says what takes how much)",
    "TorchDynamoException": "torch.compile cannot compile the loss here (is there a C++ compiler, on a GPU also "
    "triton?); engine.compile=false does without, and the same command continues",
}
"""What to do about errors of torch and the system, by the name of their class."""


def make(cfg: Config, node: Node) -> Path:
    """Make one artefact; the inputs that have a command of their own must be there.

    What it goes back to and is there is checked, also where the artefact itself is finished and reads none of it.
    """
    for child in closure([node])[:-1]:
        if STAGES[child.stage].on_demand:
            _build(cfg, child)
        else:
            child.is_complete(cfg.outputs)
    return _build(cfg, node)


def make_all(cfg: Config, nodes: list[Node]) -> None:
    """Make the artefacts and everything they need, inputs first, samples before all."""
    for node in sorted(closure(nodes), key=lambda node: node.stage != "samples"):
        _build(cfg, node)


def _build(cfg: Config, node: Node) -> Path:
    """One artefact, by as many processes as can share it."""

    def run(work: Work[Any, Any]) -> None:
        work.engine, work.logger, work.outputs = cfg.engine, cfg.logger, Path(cfg.outputs)
        work.record["engine"] = asdict(cfg.engine)
        if cfg.engine.processes > 1 and STAGES[node.stage].shared:
            made = processes.launch(cfg.engine.processes, _made, work)
            work.ledger, work.record = made.ledger, made.record
            work.leaves, work.clock = made.leaves, made.clock
        else:
            _made(work)

    folder = build(node, cfg.outputs, run)
    if node.stage in ("samples", "windows"):
        check_splits(cfg, node)
    return folder


def _made(work: Work[Any, Any]) -> Work[Any, Any]:
    """Run the stage of `work`, which tells what it cost; an error of torch that has a hint is a `UserError`."""
    with work.clock.part("libraries"):
        if work.engine.threads is not None:
            import torch

            torch.set_num_threads(work.engine.threads)
        stage = import_module(f"srd.stages.{work.node.stage}")
    work.kind = stage.Settings
    try:
        stage.make(work)
    except (RuntimeError, MemoryError) as error:
        # Torch's classes by name, it need not be loaded here; and what it says of a processor's memory, which has none.
        known = {kind.__name__ for kind in type(error).__mro__}
        known |= {"MemoryError"} if "DefaultCPUAllocator" in str(error) else set()
        for kind, message in HINTS.items():
            if kind in known:
                raise UserError(f"{work.node}: {message} [{first_line(error)}]") from None
        raise
    work.ledger["peak_memory_bytes"] = peak_memory_bytes()
    return work


def check_splits(cfg: Config, node: Node) -> None:
    """A `UserError` for a split of the finished samples or windows `node` that the run needs and that is empty, or that
    the filter would leave empty."""
    counts = read_manifest(node.folder(cfg.outputs))["ledger"]["samples"]
    suites = {graph.suite(cfg, name).fingerprint for name in cfg.evaluate.suites}
    needed = ["test"] if node.fingerprint in suites else []
    if graph.rows(cfg).fingerprint == node.fingerprint:
        needed += ["train", "dev"]
    _check_scored(cfg, node, needed)
    for name in needed:
        if counts[name] == 0:
            held = f"{counts['dev']} dev and {counts['test']} test samples took all; "
            held += "lower dataset.dev_samples and test_samples"
            hint = held if name == "train" else f"hold some out of the training split with dataset.{name}_samples"
            if node.stage == "windows":
                held = f"the {name} documents do not fill one window of model.max_tokens={cfg.model.max_tokens}"
                raise UserError(f"{node}: {held}; use more, with dataset.{name}_samples, or lower model.max_tokens")
            raise UserError(f"{node.settings['name']}: no {name} samples; {hint}")
    if "train" in needed:
        some_kept(counts["train"], cfg.filter.share)  # said before the models read, not when they have


def _check_scored(cfg: Config, node: Node, needed: list[str]) -> None:
    """A `UserError` for a sample that a metric of the run cannot score, or where one that the config names sees nothing
    in most test references."""
    read = {split: names for split, names in metrics_read(cfg).items() if split in needed}
    checks = {split: [check for name in names if (check := CRITERIA[name].check)] for split, names in read.items()}
    named = cfg.evaluate.metrics if "test" in needed and cfg.evaluate.metrics != Evaluate().metrics else []
    if not any(checks.values()) and not named:
        return
    samples = read_rows(node.folder(cfg.outputs) / "samples.jsonl", Sample)
    for sample in samples:
        for check in checks.get(sample.split, []):
            check(sample)
    tested = [sample.references for sample in samples if sample.split == "test"]
    for name in named:
        blind = sum(not METRICS[name].sees(references) for references in tested)
        if blind and blind >= BLIND * len(tested):
            raise UserError(
                f"evaluate.metrics entry {name}: it counts {METRICS[name].counts} and sees nothing in {blind} of "
                f"{len(tested)} test references; expected a metric that sees their script, such as chrf or exact_match"
            )
