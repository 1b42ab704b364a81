"""The stages: one module each with a pure function and a thin `make(cfg, work)` around it.

`make` reads its inputs, computes and writes into `work.path`; `srd.artefacts.build` does the rest.
Modules are imported when a stage runs, so that a run with nothing to do loads no model library.
"""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from srd.artefacts import Node, Work, build, closure
from srd.config import Config

MADE_ON_DEMAND = ("samples", "tokenizer", "answers")
"""Stages without a command: made when another one needs them."""


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


def _build(cfg: Config, node: Node) -> Path:
    def run(work: Work) -> None:
        if cfg.engine.threads is not None:
            import torch

            torch.set_num_threads(cfg.engine.threads)
        work.record["engine"] = asdict(cfg.engine)
        import_module(f"srd.stages.{node.stage}").make(cfg, work)

    return build(node, cfg.outputs, run)
