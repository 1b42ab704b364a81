"""Hydra's part: from overrides to a checked `Config`, with one-line errors instead of its own."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from srd.commands.explain import explain
from srd.commands.schema import conf_folder, nearest_key, options
from srd.commands.unread import reason, unread
from srd.commands.validate import validate
from srd.commands.words import Words, read_words
from srd.config import Config
from srd.errors import FULL_ERROR, UserError, look_up, wants_traceback


def run_hydra(word: str, overrides: list[str], task: Callable[[Config], None]) -> None:
    """Compose, check and run `task`: once, or for every job of a multirun."""
    ConfigStore.instance().store(name="schema", node=Config)
    words, shows, was = read_words(word, overrides), wants_traceback(), os.environ.get(FULL_ERROR)
    failures: list[BaseException] = []

    @hydra.main(version_base="1.3", config_path=str(conf_folder().resolve()), config_name="config")
    def job(composed: DictConfig) -> None:
        settings = HydraConfig.get()
        if words.is_sweep:
            from srd.runtime.progress import say

            say(f"job {settings.job.num}: {settings.job.override_dirname.replace(',', ' ') or 'defaults'}")
        try:
            if not failures:
                _refuse_unknown_recipe(settings.runtime.choices)
                cfg = to_config(composed)
                _refuse_unread(word, cfg, words)
                task(cfg)
        except (UserError, OSError, KeyboardInterrupt, OmegaConfBaseException) as error:
            if shows:
                raise
            failures.append(error)  # carried past Hydra, which would add lines of its own

    before = sys.argv
    # Hydra prints errors of several lines and exits with 1 unless this is set; then it raises.
    os.environ[FULL_ERROR] = "1"
    sys.argv = [f"srd-{word}", *words.flags, *words.overrides]
    try:
        job()
        if failures:
            raise failures[0]
    except (HydraException, OmegaConfBaseException) as error:
        if shows:
            raise
        raise UserError(explain(error)) from None
    finally:
        sys.argv = before
        del os.environ[FULL_ERROR]
        if was is not None:
            os.environ[FULL_ERROR] = was


def _refuse_unknown_recipe(choices: Mapping[str, str | None]) -> None:
    """A `UserError` for a recipe that is asked for by name and is not there: most models have none of their own, so
    Hydra passes over one that it does not find."""
    recipe = choices.get("recipe")
    if recipe is not None and recipe != choices["model"]:
        look_up(options("recipe"), recipe, "recipe")


def _refuse_unread(word: str, cfg: Config, words: Words) -> None:
    """A `UserError` for a typed setting that nothing reads; a line for one that another command reads, and in a
    sweep."""
    nothing, elsewhere = unread(word, cfg, list(words.typed))
    settings = HydraConfig.get()
    nothing = [key for key in nothing if not _is_as_without(cfg, key, list(settings.overrides.task))]
    choices = {group: str(option) for group, option in settings.runtime.choices.items()}
    for key in nothing:
        message = f"{words.typed[key]} {reason(word, cfg, key, choices)}; drop it"
        if not words.is_sweep:
            raise UserError(message)
        _say(message)
    if "schedule" in words.typed and cfg.method.divergence is None:
        _say(f"{words.typed['schedule']} does nothing with method={choices['method']}")
    if elsewhere:
        _say(f"not read by this `srd {word}`: {' '.join(words.typed[key] for key in elsewhere)}")


def _say(line: str) -> None:
    from srd.runtime.progress import say

    say(line)


def _is_as_without(cfg: Config, key: str, overrides: list[str]) -> bool:
    """Whether the value of a key is what it would be if nobody had typed it."""
    others = [each for each in overrides if each.partition("=")[0].lstrip("+") != key]
    without = hydra.compose("config", others)
    return OmegaConf.select(without, key, default=None) == OmegaConf.select(OmegaConf.structured(cfg), key)


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
            raise UserError(f"unknown key '{prefix}{key}'; {nearest_key(prefix + str(key))}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _refuse_unknown(child, f"{prefix}{key}.")
