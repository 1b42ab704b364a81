"""Hydra's part: from overrides to a checked `Config`, with one-line errors instead of its own."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any, get_origin

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from srd.commands.explain import explain
from srd.commands.schema import accepts_null, bare, conf_folder, expected, kinds, nearest_key, options
from srd.commands.unread import reason, unknown_arms, unread
from srd.commands.validate import validate
from srd.commands.words import Words, read_words
from srd.config import Config
from srd.errors import FULL_ERROR, UserError, look_up, require, wants_traceback
from srd.runtime.progress import say


def run_hydra(word: str, overrides: list[str], task: Callable[[Config], None]) -> None:
    """Compose, check and run `task`: once, or for every job of a multirun, all of which are checked first."""
    words = read_words(word, overrides)
    jobs = [(settings, to_config(composed)) for settings, composed in _composed(word, words)]
    for settings, cfg in jobs:
        if words.is_sweep:
            say(f"job {settings.job.num}: {settings.job.override_dirname.replace(',', ' ') or 'defaults'}")
        _refuse_unknown_recipe(settings.runtime.choices)
        _refuse_unread(word, cfg, words, settings)
        task(cfg)


def _composed(word: str, words: Words) -> list[tuple[Any, DictConfig]]:
    """Hydra's settings and the config of every job; what Hydra does not take is a `UserError`.

    The work itself is done when Hydra is: it would add lines of its own to every error.
    """
    ConfigStore.instance().store(name="schema", node=Config)
    jobs: list[tuple[Any, DictConfig]] = []

    @hydra.main(version_base="1.3", config_path=str(conf_folder().resolve()), config_name="config")
    def collect(composed: DictConfig) -> None:
        jobs.append((HydraConfig.get(), composed))

    before, was = sys.argv, os.environ.get(FULL_ERROR)
    # Hydra prints errors of several lines and exits with 1 unless this is set; then it raises.
    os.environ[FULL_ERROR] = "1"
    sys.argv = [f"srd-{word}", *words.flags, *words.overrides]
    try:
        collect()
    except (HydraException, OmegaConfBaseException, AssertionError, TypeError, ValueError) as error:
        if was is not None and wants_traceback(was):
            raise
        raise UserError(explain(error)) from None
    finally:
        sys.argv = before
        del os.environ[FULL_ERROR]
        if was is not None:
            os.environ[FULL_ERROR] = was
    return jobs


def _refuse_unknown_recipe(choices: Mapping[str, str | None]) -> None:
    """A `UserError` for a recipe that is asked for by name and is not there: most models have none of their own, so
    Hydra passes over one that it does not find."""
    recipe = choices.get("recipe")
    if recipe is not None and recipe != choices["model"]:
        look_up(options("recipe"), recipe, "recipe")


def _refuse_unread(word: str, cfg: Config, words: Words, settings: Any) -> None:
    """A `UserError` for a typed setting that nothing reads; a line for one that another command reads, and in a
    sweep."""
    nothing, elsewhere = unread(word, cfg, list(words.typed))
    nothing = [key for key in nothing if not _is_as_without(cfg, key, list(settings.overrides.task))]
    choices = {group: str(option) for group, option in settings.runtime.choices.items()}
    for key in nothing:
        message = f"{words.typed[key]} {reason(word, cfg, key, choices)}; drop it"
        if not words.is_sweep:
            raise UserError(message)
        say(message)
    if "schedule" in words.typed and cfg.method.divergence is None:
        say(f"{words.typed['schedule']} does nothing with method={choices['method']}")
    for line in unknown_arms(cfg) if word == "run" and "versus" in words.typed else []:
        say(line)
    if elsewhere:
        say(f"not read by this `srd {word}`: {' '.join(words.typed[key] for key in elsewhere)}")


def _is_as_without(cfg: Config, key: str, overrides: list[str]) -> bool:
    """Whether the value of a key is what it would be if nobody had typed it."""
    others = [each for each in overrides if each.partition("=")[0].lstrip("+") != key]
    with hydra.initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        without = hydra.compose("config", others)
    return OmegaConf.select(without, key, default=None) == OmegaConf.select(OmegaConf.structured(cfg), key)


def to_config(composed: DictConfig) -> Config:
    """The composed config as checked dataclasses."""
    _refuse_unknown(composed, "")
    try:
        cfg = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from None
    assert isinstance(cfg, Config), "config.yaml starts from the schema"
    _check_kinds(cfg)
    return validate(cfg)


def _check_kinds(cfg: Config) -> None:
    """A `UserError` for a section, list or table of entries that is something else: OmegaConf takes whatever an
    interpolation gives for one."""
    for key in kinds():  # sections stand before what is in them
        kind = get_origin(bare(key)) or bare(key)
        if kind in (list, dict) or is_dataclass(kind):
            value = attrgetter(key)(cfg)
            fits = (value is None and accepts_null(key)) or isinstance(value, kind)  # pyright: ignore[reportArgumentType]
            require(fits, key, value, expected(key))


def _refuse_unknown(node: DictConfig, prefix: str) -> None:
    """A `UserError` for a key that no dataclass has; Hydra lets `+key=value` add one."""
    kind = OmegaConf.get_type(node)
    for key in node:
        if is_dataclass(kind) and key not in {field.name for field in fields(kind)}:
            raise UserError(f"unknown key '{prefix}{key}'; {nearest_key(prefix + str(key))}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _refuse_unknown(child, f"{prefix}{key}.")
