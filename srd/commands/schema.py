"""What can be written on a command line: the groups of `conf/` with their options, and the keys of `Config`."""

from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from srd.config import Config
from srd.errors import nearest

APART = ("protocol", "table")
"""Groups that no command line chooses from: experiments bring protocols, `srd table` reads tables."""

KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
"""What a value of each type is called."""


def conf_folder() -> Path:
    """The configs: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent.parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "conf"


def groups() -> list[str]:
    """The config groups."""
    return sorted(path.name for path in conf_folder().iterdir() if path.is_dir())


def options(group: str) -> dict[str, Path]:
    """The options of a group by name, in order; one in a folder of the group has the folder in its name."""
    folder = conf_folder() / group
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    return dict(sorted(paths.items()))


@cache
def kinds() -> dict[str, Any]:
    """Every dotted key of the config with its type."""
    return _kinds(Config, "")


def _kinds(kind: Any, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in fields(kind):
        name, hint = prefix + field.name, hints[field.name]
        found[name] = hint
        if is_dataclass(hint):
            found |= _kinds(hint, f"{name}.")
    return found


def keys() -> list[str]:
    """Every dotted key of the config, sections too."""
    return list(kinds())


def accepts_null(key: str) -> bool:
    return NoneType in get_args(kinds()[key])


def bare(key: str) -> Any:
    """The type of a key without its null."""
    hint = kinds()[key]
    others = [each for each in get_args(hint) if each is not NoneType]
    return others[0] if accepts_null(key) else hint


def is_list(key: str) -> bool:
    return get_origin(bare(key)) is list


def expected(key: str) -> str:
    """What the value of a key has to be, in words."""
    kind, null = bare(key), " or null" if accepts_null(key) else ""
    if is_dataclass(kind):
        return f"one of its keys, as in {key}.{fields(kind)[0].name}=…"
    if get_origin(kind) is list:
        inner = KINDS[get_args(kind)[0]].removeprefix("a ")
        return f"a list in brackets, each {inner}{null}, as in {key}=[…]"
    if get_origin(kind) is dict:
        return f"one of its entries, as in {key}.NAME=…{null}"
    if isinstance(kind, UnionType):
        return " or ".join(KINDS[each] for each in get_args(kind) if each is not int) + null
    return KINDS[kind] + null


def nearest_key(key: str) -> str:
    """The key or group closest to `key`, where one is close."""
    namesakes = sorted((each for each in kinds() if each.endswith(f".{key}")), key=lambda each: "distill" not in each)
    if namesakes:
        return f"did you mean '{namesakes[0]}'?"
    close = nearest(key, [*keys(), *groups()])
    return close.partition(" choices:")[0] if close.startswith("did") else "`srd run --cfg job` shows all"
