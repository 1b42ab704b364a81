"""What the command of a stage makes, as the catalogue says."""

from importlib import import_module

from srd.config import Config
from srd.pipeline import graph
from srd.pipeline.catalogue import STAGES
from srd.store.artefacts import Node


def sample_sets(cfg: Config) -> list[Node]:
    """The training data and every suite of its own."""
    nodes = [
        graph.samples(cfg.dataset),
        *(graph.samples(graph.suite_dataset(cfg, name)) for name in cfg.evaluate.suites),
    ]
    return list({str(node): node for node in nodes}.values())


def window_sets(cfg: Config) -> list[Node]:
    """The windows of the training data and of every suite of its own, where they are plain text."""
    sets = [graph.rows(cfg), *(graph.suite(cfg, name) for name in cfg.evaluate.suites)]
    return list({str(node): node for node in sets if node.stage == "windows"}.values())


def tokenizers(cfg: Config) -> list[Node]:
    """The trained tokenizer, if any."""
    return list(graph.tokenizer(cfg).values())


def finetunings(cfg: Config) -> Node:
    """What `srd finetune role=…` asks for."""
    return graph.finetune(cfg, cfg.role)


def gradings(cfg: Config) -> list[Node]:
    """Every grading that the run's orders and weights read."""
    nodes = [node for order in graph.filter(cfg).inputs.values() for node in (order, *order.inputs.values())]
    return list({str(node): node for node in nodes if node.stage == "grade"}.values())


def commanded(stage: str, cfg: Config) -> list[Node]:
    """The artefacts that the stage's own command makes, as the catalogue says."""
    module, _, function = STAGES[stage].nodes.partition(":")
    nodes = getattr(import_module(module), function)(cfg)
    return nodes if isinstance(nodes, list) else [nodes]
