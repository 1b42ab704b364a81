"""The pipeline as nodes: from a config alone, which artefacts there are and what each is made from.

samples → reflect → rank → filter → partition → distill → evaluate

Only what changes a result enters a node's settings: never `engine`, `logger`, `outputs` or a name for tables.
"""

from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from srd.config import SPARSE, Config, Dataset, Distill, Generation, Pair, Positions
from srd.datasets import DATASETS
from srd.distillation.divergences import power_of
from srd.distillation.schedules import phase_values
from srd.errors import UserError
from srd.pipeline.catalogue import STAGES
from srd.pipeline.identity import lora_identity, text_identity, weights_identity
from srd.selection.curricula import CURRICULA
from srd.selection.importance import IMPORTANCE
from srd.selection.positions import POLICIES, asked
from srd.selection.ranking import SIGNALS
from srd.store.artefacts import Node
from srd.store.files import known_digest


def _node(stage: str, settings: dict[str, Any], inputs: dict[str, Node] | None = None, context: Any = None) -> Node:
    """A node of today's version of its stage."""
    return Node(stage, STAGES[stage].version, settings, inputs or {}, context)


def pair(cfg: Config) -> Pair:
    """The context of every stage with a model."""
    teacher, student = cfg.model.teacher.weights, cfg.model.student.weights
    return Pair(teacher, student, cfg.longest_tokens, cfg.method.corpus.path)


def samples(dataset: Dataset) -> Node:
    """The samples of a data set, cut and split."""
    # An option that is off is not in the settings at all: what was made before there was the option stays valid.
    strict = {"strict": True} if dataset.strict else {}
    settings = {
        "name": dataset.name,
        "limit": dataset.limit,
        "dev_samples": dataset.dev_samples,
        "test_samples": dataset.test_samples,
    }
    noise = {"corrupt": dataset.corrupt, "corrupt_seed": dataset.corrupt_seed} if dataset.corrupt > 0 else {}
    source = DATASETS[dataset.name].source(dataset)
    return _node("samples", settings | strict | noise | {"source": source}, context=dataset.location)


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
    return {"tokenizer": _node("tokenizer", {"vocabulary": cfg.model.vocabulary}, inputs)}


def finetune(cfg: Config, role: str) -> Node:
    """Supervised fine-tuning of the teacher, or the student's warm start."""
    side = cfg.model.side(role)
    if side.finetune.epochs == 0:
        raise UserError(f"model.{role}.finetune.epochs=0: this {role} is used as it is; set the epochs to fine-tune it")
    settings = {
        "role": role,
        "text": text_identity(cfg),
        "weights": weights_identity(side, role),
        "recipe": asdict(side.finetune),
        **lora_identity(side),
    }
    return _node("finetune", settings, {"samples": samples(cfg.dataset), **tokenizer(cfg)}, pair(cfg))


def reflect(cfg: Config) -> Node:
    """The student's answers to the training prompts."""
    settings, inputs = _model(cfg, "student")
    decoding = _decoding(cfg.reflect.generation, [cfg.reflect.seed], cfg.engine.generation_backend)
    return _node("reflect", {**settings, **decoding}, {"samples": samples(cfg.dataset), **inputs}, pair(cfg))


def rank(cfg: Config) -> Node:
    """The samples in order of difficulty."""
    return _ranking(cfg, cfg.rank.signals, cfg.rank.seed)


def rankings(cfg: Config) -> list[Node]:
    """Every order that a run reads: the ranking, and what else chooses who stays."""
    return list(filter(cfg).inputs.values())


def _ranking(cfg: Config, signals: list[str], seed: int) -> Node:
    """An order by some signals; only those of the student need its reflections."""
    reflected = {"reflections": reflect(cfg)} if any(SIGNALS[name].is_reflected for name in signals) else {}
    written = {"samples": samples(cfg.dataset)} if any(not SIGNALS[name].is_reflected for name in signals) else {}
    # A seed that nothing is drawn with would make equal orders anew for every training seed of a study.
    drawn = {"seed": seed} if any(SIGNALS[name].is_drawn for name in signals) else {}
    return _node("rank", {"signals": signals, "rrf_k": cfg.rank.rrf_k, **drawn}, {**reflected, **written})


def filter(cfg: Config) -> Node:
    """The samples that stay: the easiest of the ranking, or those that another signal or chance chooses, in the
    ranking's order."""
    settings = {"keep": cfg.filter.keep}
    if cfg.filter.by == "rank" or cfg.filter.keep == 1:
        return _node("filter", settings, {"ranking": rank(cfg)})
    chooser = _ranking(cfg, [cfg.filter.by], cfg.filter.seed)
    inputs = {"ranking": rank(cfg), "chooser": chooser} if cfg.is_ordered else {"ranking": chooser}
    return _node("filter", settings, inputs)


def partition(cfg: Config) -> Node:
    """The samples of every phase; a run that neither drops nor orders takes them all, without a ranking."""
    name = cfg.curriculum.name if cfg.num_phases > 1 else "none"
    used = {key: getattr(cfg.curriculum, key) for key in CURRICULA[name].reads}
    settings = {
        "curriculum": name,
        "phases": cfg.num_phases,
        **{key: value for key, value in used.items() if value is not None},
    }
    # A plain arm asks for no ranking, so that its student need not reflect: its cost stays that of plain distillation.
    inputs = {"selection": filter(cfg)} if cfg.filter.keep < 1 or cfg.is_ordered else {"samples": samples(cfg.dataset)}
    return _node("partition", settings, inputs)


def answers(cfg: Config) -> Node:
    """The teacher's answers to the training prompts."""
    settings, inputs = _model(cfg, "teacher")
    decoding = _decoding(cfg.method.answers, [cfg.method.answers_seed], cfg.engine.generation_backend)
    return _node("answers", {**settings, **decoding}, {"samples": samples(cfg.dataset), **inputs}, pair(cfg))


def distill(cfg: Config) -> Node:
    """The distilled student."""
    student, inputs = _model(cfg, "student")
    decoding = _decoding(cfg.evaluate.generation, cfg.evaluate.seeds[:1])
    settings = {**student, **lora_identity(cfg.model.student), **_method(cfg)}
    settings |= {"recipe": _recipe(cfg.distill), "dev": decoding}
    inputs = {"samples": samples(cfg.dataset), "phases": partition(cfg), **inputs}
    if cfg.model.student.lora.rank > 0:
        settings["merge"] = cfg.model.student.lora.merge
    if cfg.curriculum.order == "kept":
        settings["order"] = "kept"
    if cfg.method.responses == "teacher":
        inputs["answers"] = answers(cfg)
    if cfg.method.divergence is not None and not cfg.selection.positions.are_all:
        settings["positions"] = _positions(cfg.selection.positions)
    # Without a divergence τ and α have nothing to act on: all schedules of supervised training are one artefact.
    if cfg.method.divergence is not None:
        settings["schedule"] = phase_values(cfg.schedule, cfg.num_phases)
        if cfg.caches_teacher:
            # The teacher's weights are behind the cache's fingerprint and not named again: the student reads no more.
            inputs["cache"] = cache(cfg)
        else:
            teacher, more = _model(cfg, "teacher")
            settings |= teacher
            inputs |= more
    return _node("distill", settings, inputs, pair(cfg))


def _recipe(recipe: Distill) -> dict[str, Any]:
    """The recipe of distillation; the metric that chooses counts where it is not the one that always chose."""
    settings = asdict(recipe)
    if recipe.select_by == Distill.select_by:
        del settings["select_by"]
    return settings


def cache(cfg: Config) -> Node:
    """What is kept of the teacher on the training samples: its last hidden states on all of them, which every arm
    reads; or some classes of its distribution on those that stay."""
    settings, inputs = _model(cfg, "teacher")
    inputs = {"samples": samples(cfg.dataset), **inputs}
    if cfg.teacher.signal in SPARSE:
        settings |= {"signal": cfg.teacher.signal, "classes": _classes(cfg)}
        inputs |= {"selection": filter(cfg)} if cfg.filter.keep < 1 else {}
    else:
        settings["dtype"] = cfg.teacher.dtype or cfg.model.teacher.dtype
    return _node("cache", settings, inputs, pair(cfg))


def _classes(cfg: Config) -> dict[str, Any]:
    """What a choice of classes reads of its settings."""
    read = ("count",) if cfg.teacher.signal == "top" else ("draws", "slots", "seed")
    return {key: getattr(cfg.selection.classes, key) for key in (*read, "temperature")}


def _positions(positions: Positions) -> dict[str, Any]:
    """What a choice of positions reads of its settings."""
    policy, weight = POLICIES[positions.policy], positions.weight
    drawn = policy.is_drawn or any(IMPORTANCE[name].drawn for name in asked(positions))
    read = {
        "policy",
        *policy.reads,
        "cross_entropy",
        *({"weight"} if weight else ()),
        *({"cooling", "signal"} if positions.cooling else ()),
        *({"seed"} if drawn else ()),
    }
    return {key: value for key, value in asdict(positions).items() if key in read}


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


def checkpoint(cfg: Config, target: str) -> tuple[dict[str, Any], dict[str, Node]]:
    """Settings and inputs that say which weights a target of the evaluation has."""
    settings, inputs = _model(cfg, "student" if target == "distill" else target)
    if target == "distill":
        settings, inputs = {"checkpoint": cfg.evaluate.checkpoint, **settings}, {"checkpoint": distill(cfg), **inputs}
    return {"target": target, **settings}, inputs


def evaluate(cfg: Config, target: str, suite_name: str) -> Node:
    """The scores of one checkpoint on one suite."""
    decoding = _decoding(cfg.evaluate.generation, cfg.evaluate.seeds, cfg.engine.generation_backend)
    model, inputs = checkpoint(cfg, target)
    settings = {"suite": suite_name, **decoding, **model}
    return _node("evaluate", settings, {"samples": suite(cfg, suite_name), **inputs}, pair(cfg))


def evaluations(cfg: Config) -> list[Node]:
    """Every (target, suite) that the config asks for."""
    return [evaluate(cfg, target, name) for target in cfg.evaluate.targets for name in cfg.evaluate.suites]


def sample_sets(cfg: Config) -> list[Node]:
    """The training data and every suite of its own."""
    nodes = [samples(cfg.dataset), *(suite(cfg, name) for name in cfg.evaluate.suites)]
    return list({str(node): node for node in nodes}.values())


def tokenizers(cfg: Config) -> list[Node]:
    """The trained tokenizer, if any."""
    return list(tokenizer(cfg).values())


def finetunings(cfg: Config) -> Node:
    """What `srd finetune role=…` asks for."""
    return finetune(cfg, cfg.role)


def commanded(stage: str, cfg: Config) -> list[Node]:
    """The artefacts that the stage's own command makes, as the catalogue says."""
    module, _, function = STAGES[stage].nodes.partition(":")
    nodes = getattr(import_module(module), function)(cfg)
    return nodes if isinstance(nodes, list) else [nodes]


def _model(cfg: Config, role: str) -> tuple[dict[str, Any], dict[str, Node]]:
    """Settings and inputs that say which weights a role has before distillation."""
    side = cfg.model.side(role)
    tuned = {role: finetune(cfg, role)} if side.finetune.epochs > 0 else {}
    return {"text": text_identity(cfg), role: weights_identity(side, role)}, {**tuned, **tokenizer(cfg)}


def _decoding(generation: Generation, seeds: list[int], backend: str = "transformers") -> dict[str, Any]:
    """How answers are drawn; greedy decoding has no use for seeds and cuts and takes one pass, and who draws matters
    only to samples."""
    if generation.temperature == 0:
        uncut = replace(generation, top_p=Generation.top_p, top_k=Generation.top_k)
        return {"generation": asdict(uncut), "seeds": [0]}
    sampler = {"sampler": backend} if backend != "transformers" else {}
    return {"generation": asdict(generation), "seeds": seeds, **sampler}
