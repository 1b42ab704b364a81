"""Settings that somebody typed and that nothing reads: other values of them make the same artefacts.

A key that enters fingerprints is read where some other value of it changes an artefact. What else is read decides no
artefact, and says here when it is read. A setting that only another command reads is said; one that nothing reads is
refused, but said in an arm of a sweep, whose words are for all arms.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from srd.commands.schema import bare, kinds
from srd.commands.validate import validate
from srd.config import Config
from srd.errors import UserError, nearest
from srd.metrics import executing
from srd.pipeline import graph
from srd.pipeline.commanded import commanded
from srd.pipeline.scoring import harnesses, scores
from srd.pipeline.settings import metrics_read
from srd.report.study import read_study, study_folder
from srd.selection.ranking import SIGNALS
from srd.store.artefacts import Node, closure

Reads = Callable[[str, Config, str], bool]
"""Whether a command with a config reads a key."""

UNTRIED = re.compile(
    r"engine\..*|outputs|study|arm|logger\.name|(model|method|schedule|selection)\.name|evaluate\.targets|"
    r"evaluate\.suites.*|method\.parameters.*|model\.\w+\.architecture.*"
)
"""How it is computed, where it goes and what it is called: read by every command. And what has no other value to try:
tables of free entries."""

CHOICES = (
    "srd-other auto hidden online official 0 2 float32 bfloat16 float16 phase step constant references teacher rank "
    "random nll rouge_l length easiest hardest shuffled kept best last restart continue decreasing increasing "
    "exact_match mixed sampled top all threshold window band adaptive sequence step chosen "
    "pass_rate paced student_entropy forward_kl early float8 train warmup exchanged truncated garbled "
    "knee mixture budget"
)
"""Other texts to try: one that is a choice of no key, and the choices of all."""

EVERY_TARGET = ("teacher", "student", "distill")


def _section(cfg: Config, key: str) -> Any:
    """The section that holds a key."""
    value: Any = cfg
    for name in key.split(".")[:-1]:
        value = getattr(value, name)
    return value


def _warms_up(word: str, cfg: Config, key: str) -> bool:
    # Null may be what a recipe chooses the split by.
    return cfg.dataset.warmup_samples is None or any(
        cfg.model.side(role).finetune.reads_warmup for role in ("teacher", "student")
    )


def _inherited(word: str, cfg: Config, key: str) -> bool:
    decodings = (
        cfg.reflect.generation,
        cfg.evaluate.generation,
        cfg.method.answers,
        cfg.method.student_data.generation,
    )
    return cfg.generation.max_new_tokens in {decoding.max_new_tokens for decoding in decodings}


OUTSIDE: dict[str, Reads] = {
    r"plan\..*": lambda word, cfg, key: word == "plan",
    r"role": lambda word, cfg, key: word == "finetune",
    r"logger\.(project|mode)": lambda word, cfg, key: cfg.logger.name == "wandb",
    r"teacher\.signal": lambda word, cfg, key: cfg.method.divergence is not None,
    r"teacher\.disk_gb": lambda word, cfg, key: cfg.teacher.signal == "auto" and cfg.caches_teacher,
    r"model\.\w+\.trust_remote_code": lambda word, cfg, key: _section(cfg, key).name is not None,
    r"model\.teacher\.lora\.merge": lambda word, cfg, key: False,
    r"model\.\w+\.revision": lambda word, cfg, key: (
        not Path(_section(cfg, key).name or "").is_dir() or _section(cfg, key).name is None
    ),
    r"dataset\.warmup_samples": _warms_up,
    r"rank\.verifier": lambda word, cfg, key: any(SIGNALS[name].is_verified for order in cfg.orders for name in order),
    r"generation\.max_new_tokens": _inherited,
    r"evaluate\.(allow_code|code\.isolation)": lambda word, cfg, key: bool(
        executing(name for names in metrics_read(cfg).values() for name in names)
    ),
    r"evaluate\.seeds": lambda word, cfg, key: len(cfg.evaluate.seeds) == 1 or cfg.evaluate.generation.temperature > 0,
}
"""Keys that no fingerprint tells of, or not all, and when they are read."""

SOME = {r"versus|published|evaluate\.pass_at": ("run", "plan"), r"evaluate\.harness\.program": ("harness",)}
"""Keys that no fingerprint tells of and some commands read: the same words may go to the others."""

DRAWN = re.compile(r"(.*)\.(top_k|top_p)")
"""Keys that greedy decoding has no use for."""

DECIDERS = {
    r"schedule\.(\w+)\..*": ("method", "schedule", "curriculum"),
    r"(reflect|evaluate)\.(generation\..*|seeds?|answers)": ("{0}.generation.temperature",),
    r"(method\.student_data)\.generation\..*": ("{0}.share", "{0}.generation.temperature"),
    r"generation\..*": ("reflect.generation.max_new_tokens", "evaluate.generation.max_new_tokens"),
    r"method\.answers.*": ("method.responses", "method.answers.temperature"),
    r"method\.student_data\..*": ("method.student_data.share", "method.student_data.adaptive"),
    r"method\.corpus\..*": ("method.corpus.path",),
    r"selection\.positions\..*": ("selection.positions.policy", "selection.positions.signal"),
    r"selection\.classes\..*": ("teacher.signal",),
    r"(teacher|method)\..*": ("method", "teacher.signal"),
    r"curriculum\..*": ("curriculum", "filter.keep"),
    r"filter\.weight_powers": ("filter.weights",),
    r"filter\.(rule|passes)": ("filter.keep", "filter.rule"),
    r"filter\..*": ("filter.keep", "filter.by"),
    r"rank\..*": ("rank.signals", "filter.by"),
    r"dataset\.corrupt_(seed|kind)": ("dataset.corrupt",),
    r"dataset\.warmup_samples": ("model.teacher.finetune.split", "model.student.finetune.split"),
    r"dataset\..*": ("dataset",),
    r"evaluate\.path": ("evaluate",),
    r"evaluate\.(allow_code|code\..*|encoder\..*)": ("evaluate.metrics", "rank.signals"),
    r"model\.(\w+)\.lora\..*": ("model.{0}.lora.rank",),
    r"model\.(\w+)\.finetune\..*": ("model.{0}.finetune.epochs",),
    r"model\.(\w+)\..*": ("model.{0}.name",),
    r"logger\..*": ("logger",),
}
"""What usually decides whether a key is read: groups and keys."""


def unread(word: str, cfg: Config, keys: list[str]) -> tuple[list[str], list[str]]:
    """Of `keys`, those that nothing reads, and those that `srd WORD` does not but another command does."""
    try:
        scores(cfg)
        _everything(cfg)
    except UserError:  # the command itself will say it
        return [], []
    nothing, elsewhere = [], []
    for key in keys:
        if key not in kinds() or is_dataclass(bare(key)) or UNTRIED.fullmatch(key):
            continue
        here, anywhere = _reads(word, cfg, key)
        if not anywhere:
            nothing.append(key)
        elif not here:
            elsewhere.append(key)
    return nothing, elsewhere


def _reads(word: str, cfg: Config, key: str) -> tuple[bool, bool]:
    """Whether the command reads a key, and whether any does."""
    drawn = DRAWN.fullmatch(key)
    if drawn and _section(cfg, key).temperature == 0:
        return False, False
    for pattern, words in SOME.items():
        if re.fullmatch(pattern, key):
            return word in words, True
    for pattern, reads in OUTSIDE.items():
        if re.fullmatch(pattern, key):
            is_read = reads(word, cfg, key)
            return is_read, is_read
    variants = list(_variants(cfg, key))
    if not variants:  # the rest of the config leaves it this value alone
        return True, True
    if word == "run" and _changes(cfg, variants, lambda each: closure(scores(each))):
        return True, True
    anywhere = _changes(cfg, variants, _everything)
    # The same words go to every command of one stage, so that there each setting may be meant for another.
    return anywhere and word != "run", anywhere


def _changes(cfg: Config, variants: list[Config], nodes: Callable[[Config], list[Node]]) -> bool:
    """Whether some variant makes other artefacts, or is refused where the config is not."""
    made = {str(node) for node in nodes(cfg)}
    for variant in variants:
        try:
            if {str(node) for node in nodes(variant)} != made:
                return True
        except UserError:
            return True
    return False


def _everything(cfg: Config) -> list[Node]:
    """All that any command makes of a config."""
    whole = replace(cfg, evaluate=replace(cfg.evaluate, targets=list(EVERY_TARGET)))
    stages = ["distill", "partition", "cache"]
    # Windows of text are not answered, so that no order is made for its own sake.
    stages += ["rank", "filter"] if cfg.orders or not cfg.dataset.is_text else []
    stages += [] if cfg.dataset.is_text else ["reflect"]
    nodes = [*scores(whole), *harnesses(whole), *(node for stage in stages for node in commanded(stage, whole))]
    for role in ("teacher", "student"):
        if cfg.model.side(role).finetune.epochs > 0:
            nodes.append(graph.finetune(cfg, role))
    return closure(nodes)


def _variants(cfg: Config, key: str) -> Iterator[Config]:
    """The config with other values of a key, those that are valid."""
    now = getattr(_section(cfg, key), key.rpartition(".")[2])
    for value in _other_values(now, bare(key)):
        if value == now:
            continue
        try:
            yield validate(_replaced(cfg, key.split("."), value))
        except UserError:
            continue


def _replaced(section: Any, path: list[str], value: Any) -> Any:
    inner = value if len(path) == 1 else _replaced(getattr(section, path[0]), path[1:], value)
    return replace(section, **{path[0]: inner})


def _other_values(value: Any, kind: Any) -> Iterator[Any]:
    """Values of a type that differ from `value`."""
    if kind is bool:
        yield not value
    elif kind is int:
        yield from ((value or 0) + 1, 2 * (value or 1), max(1, (value or 2) // 2), (value or 0) + 1000)
    elif kind is float:
        yield from ((value or 1.0) / 2, ((value or 0.0) + 1) / 2, (value or 1.0) * 1.5, (value or 0.0) + 1)
    elif kind is str:
        yield from (word for word in CHOICES.split() if word != value)
    elif isinstance(kind, UnionType):
        for each in get_args(kind):
            yield from _other_values(value if isinstance(value, each) else None, each)
    else:
        yield from _other_lists(value or [], get_args(kind)[0])


def _other_lists(value: list[Any], kind: Any) -> Iterator[list[Any]]:
    yield from (value[::-1], value[:1])
    if kind is str:
        yield from ([word] for word in CHOICES.split() if [word] != value)
    else:
        yield [kind(0.9 * each) if kind is float else each + 1 for each in value]
        if len(value) > 1:
            yield [value[0] / 2, value[1] + value[0] / 2, *value[2:]] if kind is float else [value[0] + 1, *value[1:]]
        yield [kind(1)]


def unknown_arms(cfg: Config) -> list[str]:
    """What to say of the arms of `versus` that the study, once it has any, does not have."""
    if not any((study_folder(cfg.outputs, cfg.study) / "runs").glob("*.json")):
        return []
    arms = {run.arm for run in read_study(Path(cfg.outputs), cfg.study)}
    unknown = [name for name in cfg.versus if name not in arms]
    return [f"versus: no arm '{name}' in study '{cfg.study}' yet; {nearest(name, arms)}" for name in unknown]


def reason(word: str, cfg: Config, key: str, choices: Mapping[str, str]) -> str:
    """Why nothing reads `key`: which command would, or what the config says where that is decided."""
    alone = {r"role": "finetune", r"plan\..*": "plan", r"evaluate\.harness\..*": "harness"}
    for pattern, command in alone.items():
        if re.fullmatch(pattern, key):
            return f"is read by `srd {command}` alone"
    if key == "model.teacher.lora.merge":
        return "does nothing: only the student's adapter can be left apart"
    for pattern, names in DECIDERS.items():
        if match := re.fullmatch(pattern, key):
            names = dict.fromkeys(name.format(*match.groups()) for name in names)
            said = {name: choices.get(name) or _value_of(cfg, name) for name in names if name != key}
            if said:
                return f"does nothing with {' '.join(f'{name}={value}' for name, value in said.items())}"
    return f"does nothing in `srd {word}`"


def _value_of(cfg: Config, name: str) -> Any:
    """The value of a key as it is written; of a group, its name."""
    value = getattr(_section(cfg, name), name.rpartition(".")[2])
    value = getattr(value, "name", value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else value
