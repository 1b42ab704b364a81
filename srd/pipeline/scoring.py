"""What a run is scored by: answers where there are prompts, likelihoods, and another program's suites."""

from pathlib import Path
from typing import Any

from srd.config import Config, Harnessed
from srd.errors import UserError, require
from srd.pipeline import graph
from srd.pipeline.settings import of_decoding, of_metrics
from srd.store.artefacts import Node
from srd.store.files import tree_digest


def scores(cfg: Config) -> list[Node]:
    """Everything that `srd run` ends with: answers to every suite that has prompts, and likelihoods where they are
    asked for or there is nothing else."""
    nodes = []
    for target in cfg.evaluate.targets:
        nodes += [evaluate(cfg, target, name) for name in cfg.evaluate.suites if is_answered(cfg, name)]
        nodes += [likelihood(cfg, target, name) for name in cfg.evaluate.suites if is_read(cfg, name)]
    return nodes


def is_answered(cfg: Config, suite: str) -> bool:
    """Whether a run answers a suite: it has prompts."""
    return not graph.suite_dataset(cfg, suite).is_text


def is_read(cfg: Config, suite: str) -> bool:
    """Whether a run takes the likelihood of a suite."""
    return cfg.evaluate.likelihood or not is_answered(cfg, suite)


def evaluate(cfg: Config, target: str, suite: str) -> Node:
    """The answers of one checkpoint to the prompts of one suite, with their scores."""
    decoding = of_decoding(cfg.evaluate.generation, cfg.evaluate.seeds, cfg.engine.generation_backend)
    return _of_suite("evaluate", cfg, target, suite, decoding | of_metrics(cfg))


def evaluations(cfg: Config) -> list[Node]:
    """Every (target, suite) that the config asks for and that can be answered."""
    suites = [name for name in cfg.evaluate.suites if is_answered(cfg, name)]
    if not suites:
        raise UserError(
            f"evaluate.suites={list(cfg.evaluate.suites)}: windows of text and no prompts to answer; `srd likelihood` "
            "takes their perplexity"
        )
    return [evaluate(cfg, target, name) for target in cfg.evaluate.targets for name in suites]


def likelihood(cfg: Config, target: str, suite: str) -> Node:
    """How likely the test rows of a suite are under one checkpoint."""
    return _of_suite("likelihood", cfg, target, suite, {})


def likelihoods(cfg: Config) -> list[Node]:
    """Every (target, suite) that the config asks for."""
    return [likelihood(cfg, target, name) for target in cfg.evaluate.targets for name in cfg.evaluate.suites]


def _of_suite(stage: str, cfg: Config, target: str, suite: str, settings: dict[str, Any]) -> Node:
    """What a stage makes of one checkpoint and one suite."""
    model, inputs = graph.checkpoint(cfg, target)
    inputs = {"samples": graph.suite(cfg, suite), **inputs}
    return graph.node_of(stage, {"suite": suite, **settings, **model}, inputs, graph.pair(cfg))


def harness(cfg: Config, target: str) -> Node:
    """What lm-eval says of one checkpoint."""
    asked, (model, inputs) = cfg.evaluate.harness, graph.checkpoint(cfg, target)
    settings: dict[str, Any] = {"tasks": asked.tasks, **model}
    settings |= {key: getattr(asked, key) for key in ("shots", "limit") if getattr(asked, key) is not None}
    if asked.include_path is not None:
        place = Path(asked.include_path)
        require(place.is_dir(), "evaluate.harness.include_path", place, "a folder with the YAML files of tasks")
        settings["local"] = tree_digest(place)
    return graph.node_of("harness", settings, inputs, Harnessed(graph.pair(cfg), asked))


def harnesses(cfg: Config) -> list[Node]:
    """Every checkpoint that the config asks for."""
    return [harness(cfg, target) for target in cfg.evaluate.targets]
