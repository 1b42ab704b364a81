"""The stages: one module each with a pure function and a thin `make(cfg, work)` around it.

`make` reads its inputs, computes and writes into `work.path`; `srd.artefacts.build` does the rest.
Modules are imported when a stage runs, so that a run with nothing to do loads no model library.
"""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from srd import graph
from srd.config import Config
from srd.errors import UserError
from srd.runtime import processes
from srd.runtime.progress import say
from srd.store.artefacts import Node, Work, build, closure
from srd.store.provenance import peak_memory_bytes

MADE_ON_DEMAND = ("samples", "tokenizer", "answers")
"""Stages without a command: made when another one needs them."""
SHARED = ("finetune", "answers", "reflect", "cache", "distill", "evaluate")
"""Stages whose work several processes can share."""


def make(cfg: Config, node: Node) -> Path:
    """Make one artefact; the inputs that have a command of their own must be there."""
    for child in closure([node])[:-1]:
        if child.stage in MADE_ON_DEMAND:
            _build(cfg, child)
    return _build(cfg, node)


def make_all(cfg: Config, nodes: list[Node]) -> None:
    """Make the artefacts and everything they need, inputs first, samples before all."""
    for node in sorted(closure(nodes), key=lambda node: node.stage != "samples"):
        _build(cfg, node)


def settle_teacher(cfg: Config, planning: bool = False) -> None:
    """Turn `teacher.signal=auto` into hidden or online: by whether the texts are known, then by an estimate of the
    cache's size.

    A third of the bytes of `samples.jsonl` is taken for its positions: more than text in Latin script has. The stage
    itself knows the size and stops where the disk is too small. Only in `planning` do the numbers of `plan` stand for
    the samples.
    """
    if cfg.teacher.signal != "auto" or not cfg.caches_teacher:
        return
    if planning and cfg.plan.samples is not None and cfg.plan.response_tokens is not None:
        positions = cfg.plan.samples * cfg.plan.response_tokens
    else:
        positions = (make(cfg, graph.samples(cfg.dataset)) / "samples.jsonl").stat().st_size / 3
    each = 4 if (cfg.teacher.dtype or cfg.model.teacher.dtype) == "float32" else 2
    about_gb = positions * graph.hidden_size(cfg.model.teacher) * each / 1e9
    cfg.teacher.signal = "hidden" if about_gb <= cfg.teacher.disk_gb else "online"
    if cfg.teacher.signal == "online" or planning or not graph.cache(cfg).is_complete(cfg.outputs):
        say(
            f"teacher.signal=auto: {cfg.teacher.signal}; a cache takes about {about_gb:.2g} GB of "
            f"teacher.disk_gb={cfg.teacher.disk_gb:g}"
        )


HINTS = {
    "OutOfMemoryError": "out of memory; lower engine.generation_sequences, engine.micro_batch_tokens or "
    "engine.loss_positions and run the same command again (`srd plan` says what takes how much)",
    "TorchDynamoException": "torch.compile cannot compile the loss here (is there a C++ compiler, on a GPU also "
    "triton?); engine.compile=false does without, and the same command continues",
}
"""What to do about torch's errors, by the name of their class."""


def _build(cfg: Config, node: Node) -> Path:
    def run(work: Work) -> None:
        work.record["engine"] = asdict(cfg.engine)
        if cfg.engine.processes > 1 and node.stage in SHARED:
            made = processes.run(cfg.engine.processes, _made, cfg, work)
            work.ledger, work.record, work.scratch = made.ledger, made.record, made.scratch
        else:
            _made(cfg, work)

    return build(node, cfg.outputs, run)


def _made(cfg: Config, work: Work) -> Work:
    """Run the stage of `work`, which tells what it cost; an error of torch that has a hint is a `UserError`."""
    if cfg.engine.threads is not None:
        import torch

        torch.set_num_threads(cfg.engine.threads)
    try:
        import_module(f"srd.stages.{work.node.stage}").make(cfg, work)
    except RuntimeError as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}  # torch's; it need not be loaded here
        for kind, message in HINTS.items():
            if kind in kinds:
                reason = str(error).partition("\n")[0]
                raise UserError(f"{work.node}: {message} [{reason}]") from None
        raise
    work.ledger["peak_memory_bytes"] = peak_memory_bytes()
    return work
