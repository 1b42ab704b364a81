"""Hydra's part: from overrides to a checked `Config`, with one-line errors instead of its own."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from srd.commands.validate import validate
from srd.config import Config
from srd.errors import UserError, look_up, nearest

FULL_ERROR = "HYDRA_FULL_ERROR"


def conf_folder() -> Path:
    """The configs: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent.parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "conf"


def run_hydra(word: str, overrides: list[str], task: Callable[[Config], None]) -> None:
    """Compose, check and run `task`: once, or for every job of a multirun."""
    ConfigStore.instance().store(name="schema", node=Config)
    wants_traceback = os.environ.get(FULL_ERROR)
    failures: list[BaseException] = []

    @hydra.main(version_base="1.3", config_path=str(conf_folder().resolve()), config_name="config")
    def job(composed: DictConfig) -> None:
        settings = HydraConfig.get()
        if settings.mode is not None and settings.mode.name == "MULTIRUN":
            from srd.runtime.progress import say

            say(f"job {settings.job.num}: {settings.job.override_dirname.replace(',', ' ') or 'defaults'}")
        try:
            if not failures:
                _refuse_unknown_recipe(settings.runtime.choices)
                task(to_config(composed))
        except (UserError, OSError, KeyboardInterrupt, OmegaConfBaseException) as error:
            if wants_traceback:
                raise
            failures.append(error)  # carried past Hydra, which would add lines of its own

    before = sys.argv
    # Hydra prints errors of several lines and exits with 1 unless this is set; then it raises.
    os.environ[FULL_ERROR] = "1"
    sys.argv = [f"srd-{word}", *overrides]
    try:
        job()
        if failures:
            raise failures[0]
    except (HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        raise UserError(explain(error)) from None
    finally:
        sys.argv = before
        if wants_traceback is None:
            del os.environ[FULL_ERROR]


def _refuse_unknown_recipe(choices: Mapping[str, str | None]) -> None:
    """A `UserError` for a recipe that is asked for by name and is not there: most models have none of their own, so
    Hydra passes over one that it does not find."""
    recipe = choices.get("recipe")
    if recipe is not None and recipe != choices["model"]:
        look_up(options("recipe"), recipe, "recipe")


def to_config(composed: DictConfig) -> Config:
    """The composed config as checked dataclasses."""
    _refuse_unknown(composed, "")
    cfg = OmegaConf.to_object(composed)
    assert isinstance(cfg, Config), "config.yaml starts from the schema"
    return validate(cfg)


def _refuse_unknown(node: DictConfig, prefix: str) -> None:
    """A `UserError` for a key that no dataclass has; Hydra lets `+key=value` add one."""
    kind = OmegaConf.get_type(node)
    for key in node:
        if is_dataclass(kind) and key not in {field.name for field in fields(kind)}:
            raise UserError(f"unknown key '{prefix}{key}'; {_nearest_key(prefix + str(key))}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _refuse_unknown(child, f"{prefix}{key}.")


def explain(error: Exception) -> str:
    """One line for Hydra's and OmegaConf's errors: what was wrong and the nearest that is right."""
    cause = error
    while cause.__cause__ is not None and isinstance(cause.__cause__, HydraException | OmegaConfBaseException):
        cause = cause.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.partition("/")
        return f"unknown option '{group}={name}'; {nearest(name, options(group))}"
    text = " ".join(str(cause).split(" full_key:")[0].splitlines()[0].split())
    if isinstance(cause, MissingMandatoryValue):
        key = getattr(cause, "full_key", "")
        return f"{key} is not set; give it a value, as in model.teacher.name=… model.student.name=…"
    if isinstance(error, OverrideParseException):
        return f"cannot read the override '{error.override}'; expected key=value, group=option, +key=value or ~key"
    key = getattr(cause, "full_key", None)
    if key and "not in" in text:
        return f"unknown key '{key}'; {_nearest_key(key)}"
    if "No match in the defaults list" in text and isinstance(error, HydraException):
        return f"{text.split('. ')[0]}: experiments bring protocols, and a table runs as `srd table NAME`"
    if "In '" in text and "not find" in text:
        return f"{text}; groups: {', '.join(groups())}"
    return f"{key}: {text}" if key and key not in text else text


def groups() -> list[str]:
    """The config groups."""
    return sorted(path.name for path in conf_folder().iterdir() if path.is_dir())


def options(group: str) -> dict[str, Path]:
    """The options of a group by name, in order; one in a folder of the group has the folder in its name."""
    folder = conf_folder() / group
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    return dict(sorted(paths.items()))


def _nearest_key(key: str) -> str:
    return (
        nearest(key, [*keys(Config), *groups()]).split(" choices:")[0].replace("choices:", "see `srd run --cfg job`:")
    )


def keys(kind: Any, prefix: str = "") -> list[str]:
    """Every dotted key of a config dataclass."""
    found = []
    hints = get_type_hints(kind)
    for field in fields(kind):
        name = prefix + field.name
        found.append(name)
        for inner in [hints[field.name], *get_args(hints[field.name])]:
            if is_dataclass(inner):
                found += keys(inner, name + ".")
    return found
