"""The pipeline as nodes: from a config alone, which artefacts there are and what each is made from.

samples → reflect, grade, score → rank → filter → partition → distill → evaluate

Only what changes a result enters a node's settings: never `engine`, `logger`, `outputs` or a name for tables.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from srd.config import SPARSE, Config, Dataset, Pair
from srd.datasets import DATASETS
from srd.distillation.schedules import phase_values
from srd.errors import UserError
from srd.pipeline.catalogue import STAGES
from srd.pipeline.identity import lora_identity, text_identity, tokenizer_identity, weights_identity
from srd.pipeline.settings import (
    answer_seeds,
    of_classes,
    of_code,
    of_curriculum,
    of_decoding,
    of_encoder,
    of_finetuning,
    of_method,
    of_noise,
    of_positions,
    of_recipe,
    of_weights,
    verifier,
)
from srd.selection.adaptive import RULES
from srd.selection.ranking import REFLECTIONS, SAMPLES, SCORES, SIGNALS, VERIFIED, sources
from srd.store.artefacts import Node


def node_of(stage: str, settings: dict[str, Any], inputs: dict[str, Node] | None = None, context: Any = None) -> Node:
    """A node of today's version of its stage."""
    return Node(stage, STAGES[stage].version, settings, inputs or {}, context)


def pair(cfg: Config) -> Pair:
    """The context of every stage with a model."""
    teacher, student = cfg.model.teacher.weights, cfg.model.student.weights
    return Pair(teacher, student, cfg.longest_tokens, cfg.method.corpus.path, cfg.evaluate.encoder.name)


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
    warmup = {"warmup_samples": dataset.warmup_samples} if dataset.warmup_samples is not None else {}
    source = DATASETS[dataset.name].source(dataset)
    more = warmup | strict | of_noise(dataset)
    return node_of("samples", settings | more | {"source": source}, context=dataset.location)


def rows(cfg: Config, dataset: Dataset | None = None) -> Node:
    """What the models read of a data set, the training data where none is named: its samples, or the windows of tokens
    that its documents are cut into."""
    dataset = dataset or cfg.dataset
    if not dataset.is_text:
        return samples(dataset)
    budget = {"tokens": dataset.tokens} if dataset.tokens is not None else {}
    settings = {"max_tokens": cfg.model.max_tokens, **budget, **tokenizer_identity(cfg)}
    return node_of("windows", settings, {"samples": samples(dataset), **tokenizer(cfg)}, pair(cfg))


def suite(cfg: Config, name: str) -> Node:
    """The rows of one evaluation suite; without a data set of its own it is the test split of the training data."""
    return rows(cfg, suite_dataset(cfg, name))


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
    return {"tokenizer": node_of("tokenizer", {"vocabulary": cfg.model.vocabulary}, inputs)}


def finetune(cfg: Config, role: str) -> Node:
    """Supervised fine-tuning of the teacher, or the student's warm start."""
    side = cfg.model.side(role)
    if side.finetune.epochs == 0:
        raise UserError(f"model.{role}.finetune.epochs=0: this {role} is used as it is; set the epochs to fine-tune it")
    settings = {
        "role": role,
        "text": text_identity(cfg),
        "weights": weights_identity(side, role),
        "recipe": of_finetuning(side.finetune),
        **lora_identity(side),
    }
    return node_of("finetune", settings, {"samples": rows(cfg), **tokenizer(cfg)}, pair(cfg))


def reflect(cfg: Config) -> Node:
    """The student's answers to the training prompts."""
    _require_prompts(
        cfg,
        "reflect",
        "rank.signals or filter.by that read no answer (nll, student_entropy …), or curriculum=none filter.keep=1",
    )
    settings, inputs = _model(cfg, "student")
    decoding = of_decoding(cfg.reflect.generation, answer_seeds(cfg.reflect), cfg.engine.generation_backend)
    return node_of("reflect", {**settings, **decoding}, {"samples": rows(cfg), **inputs}, pair(cfg))


def grade(cfg: Config, metric: str) -> Node:
    """What a metric says of the student's answers to the training prompts."""
    return node_of(
        "grade",
        {"metric": metric, **of_code(cfg, [metric]), **of_encoder(cfg, [metric])},
        {"samples": rows(cfg), REFLECTIONS: reflect(cfg)},
        pair(cfg),
    )


def _require_prompts(cfg: Config, what: str, instead: str) -> None:
    """A `UserError` where the rows are windows of text, which nobody can answer."""
    if cfg.dataset.is_text:
        raise UserError(
            f"{what}: dataset={cfg.dataset.name} has windows of text and no prompts to answer; use {instead}"
        )


def score(cfg: Config, family: str) -> Node:
    """What a model makes of the references: the student alone, or the teacher with the student beside it."""
    settings, inputs = _model(cfg, "student")
    if family == "teacher":
        teacher, more = _model(cfg, "teacher")
        settings, inputs = {**settings, **teacher}, {**inputs, **more}
    return node_of("score", {"family": family, **settings}, {"samples": rows(cfg), **inputs}, pair(cfg))


def score_families(cfg: Config) -> list[Node]:
    """The scores that the orders of a run read."""
    signals = [*cfg.rank.signals, cfg.filter.by] if cfg.filter.by != "rank" else cfg.rank.signals
    read = set(sources(cfg.orders or [cfg.rank.signals]).values())
    nodes = [score(cfg, family) for family, source in SCORES.items() if source in read]
    if not nodes:
        scored = ", ".join(name for name, signal in SIGNALS.items() if signal.family is not None)
        raise UserError(
            f"rank.signals and filter.by: {', '.join(signals)} read no scores; expected one of {scored}, or no score"
        )
    return nodes


def rank(cfg: Config) -> Node:
    """The samples in order of difficulty."""
    return _ranking(cfg, cfg.rank.signals, cfg.rank.seed)


def rankings(cfg: Config) -> list[Node]:
    """Every order that a run reads: the ranking, and what else chooses who stays."""
    return [node for node in filter(cfg).inputs.values() if node.stage == "rank"]


def _ranking(cfg: Config, signals: list[str], seed: int) -> Node:
    """An order by some signals, made of what has them and of nothing else."""
    # Answers that another order of the run needs are there for this one as well.
    known = sources([*cfg.orders, signals])
    graded = {known[name]: SIGNALS[name].metric for name in signals if SIGNALS[name].is_of_answers}
    made: dict[str, Callable[[], Node]] = {
        source: lambda metric=metric: grade(cfg, metric or verifier(cfg)) for source, metric in graded.items()
    }
    made |= {SAMPLES: lambda: rows(cfg), REFLECTIONS: lambda: reflect(cfg)}
    made |= {source: lambda family=family: score(cfg, family) for family, source in SCORES.items()}
    # A seed that nothing is drawn with would make equal orders anew for every training seed of a study.
    drawn = {"seed": seed} if any(SIGNALS[name].is_drawn for name in signals) else {}
    settings = {"signals": signals, "rrf_k": cfg.rank.rrf_k, **drawn}
    return node_of(
        "rank", settings, {source: made[source]() for source in dict.fromkeys(known[name] for name in signals)}
    )


def filter(cfg: Config) -> Node:
    """The samples that stay: one end of the ranking, or those that another signal or chance chooses, in the ranking's
    order; weighed where the run says so."""
    chosen, read = _adaptive(cfg)
    settings: dict[str, Any] = {"keep": cfg.filter.share, **chosen, **of_weights(cfg.filter)}
    if cfg.filter.end != "easiest" and cfg.filter.may_drop:
        settings["end"] = cfg.filter.end
    weighed = {VERIFIED: grade(cfg, verifier(cfg))} if cfg.weighed_by is not None else {}
    weighed |= read
    if cfg.filter.by == "rank" or not cfg.filter.may_drop:
        # All stay and nothing is ordered: what weighs them is there, and any other order would be made for nothing.
        alone = cfg.weighed_by is not None and not cfg.filter.may_drop and not cfg.is_ordered
        order = _ranking(cfg, [str(cfg.weighed_by)], cfg.rank.seed) if alone else rank(cfg)
        return node_of("filter", settings, {"ranking": order, **weighed})
    chooser = _ranking(cfg, [cfg.filter.by], cfg.filter.seed)
    inputs = {"ranking": rank(cfg), "chooser": chooser} if cfg.is_ordered else {"ranking": chooser}
    return node_of("filter", settings, {**inputs, **weighed})


def _adaptive(cfg: Config) -> tuple[dict[str, Any], dict[str, Node]]:
    """Settings and inputs of what chooses λ; none where it is a number."""
    if not cfg.filter.is_auto:
        return {}, {}
    settings = {"keep": "auto", "rule": cfg.filter.rule}
    if RULES[cfg.filter.rule].reads == "passes":
        cut = {"phases": of_curriculum(cfg), "epochs": cfg.distill.epochs}
        return {**settings, "passes": cfg.filter.passes, **cut}, {}
    order = rank(cfg)
    return {**settings, "difficulties": order.settings}, order.inputs


def partition(cfg: Config) -> Node:
    """The samples of every phase; a run that neither drops nor orders takes them all, without a ranking."""
    settings = of_curriculum(cfg)
    if cfg.weighed_by is not None:
        settings["weighted"] = True
    # A plain arm asks for no ranking, so that its student need not reflect: its cost stays that of plain distillation.
    inputs = {"selection": filter(cfg)} if cfg.is_filtered or cfg.is_ordered else {"samples": rows(cfg)}
    return node_of("partition", settings, inputs)


def answers(cfg: Config) -> Node:
    """The teacher's answers to the training prompts."""
    _require_prompts(cfg, f"method={cfg.method.name}", "a method that learns from the references, such as method=fkl")
    settings, inputs = _model(cfg, "teacher")
    decoding = of_decoding(cfg.method.answers, [cfg.method.answers_seed], cfg.engine.generation_backend)
    return node_of("answers", {**settings, **decoding}, {"samples": rows(cfg), **inputs}, pair(cfg))


def distill(cfg: Config) -> Node:
    """The distilled student."""
    student, inputs = _model(cfg, "student")
    settings = {**student, **lora_identity(cfg.model.student), **of_method(cfg), "recipe": of_recipe(cfg.distill)}
    if cfg.distill.answers_dev:
        settings["dev"] = of_decoding(cfg.evaluate.generation, cfg.evaluate.seeds[:1])
        settings["dev"] |= of_code(cfg, [cfg.distill.select_by]) | of_encoder(cfg, [cfg.distill.select_by])
    inputs = {"samples": rows(cfg), "phases": partition(cfg), **inputs}
    if cfg.model.student.lora.rank > 0:
        settings["merge"] = cfg.model.student.lora.merge
    if cfg.curriculum.order == "kept":
        settings["order"] = "kept"
    if cfg.method.responses == "teacher":
        inputs["answers"] = answers(cfg)
    if cfg.method.divergence is not None and not cfg.selection.positions.are_all:
        settings["positions"] = of_positions(cfg.selection.positions)
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
    return node_of("distill", settings, inputs, pair(cfg))


def cache(cfg: Config) -> Node:
    """What is kept of the teacher on the training samples: its last hidden states on all of them, which every arm
    reads; or some classes of its distribution on those that stay."""
    settings, inputs = _model(cfg, "teacher")
    inputs = {"samples": rows(cfg), **inputs}
    if cfg.teacher.signal in SPARSE:
        settings |= {"signal": cfg.teacher.signal, "classes": of_classes(cfg)}
        inputs |= {"selection": filter(cfg)} if cfg.is_filtered else {}
    else:
        settings["dtype"] = cfg.teacher.dtype or cfg.model.teacher.dtype
    return node_of("cache", settings, inputs, pair(cfg))


def checkpoint(cfg: Config, target: str) -> tuple[dict[str, Any], dict[str, Node]]:
    """Settings and inputs that say which weights a target of the evaluation has."""
    settings, inputs = _model(cfg, "student" if target == "distill" else target)
    if target == "distill":
        settings, inputs = {"checkpoint": cfg.evaluate.checkpoint, **settings}, {"checkpoint": distill(cfg), **inputs}
    return {"target": target, **settings}, inputs


def _model(cfg: Config, role: str) -> tuple[dict[str, Any], dict[str, Node]]:
    """Settings and inputs that say which weights a role has before distillation."""
    side = cfg.model.side(role)
    tuned = {role: finetune(cfg, role)} if side.finetune.epochs > 0 else {}
    return {"text": text_identity(cfg), role: weights_identity(side, role)}, {**tuned, **tokenizer(cfg)}
