"""What Hydra makes of overrides; without torch, for the bench measures the memory of stages that do not load it."""

from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from srd.commands.compose import to_config
from srd.commands.schema import conf_folder
from srd.config import Config, Dataset


@cache
def _store_schema() -> None:
    """Once a process: making it of the dataclasses takes a fifth of a composition."""
    ConfigStore.instance().store(name="schema", node=Config)


def composed(*overrides: str) -> DictConfig:
    """What Hydra composes for these overrides."""
    _store_schema()
    with initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        return compose("config", list(overrides))


def config(*overrides: str) -> Config:
    """The checked config of these overrides."""
    return to_config(composed(*overrides))


def rows_at(path: Path, **more: Any) -> Dataset:
    """The settings of a data set that is a local file or folder."""
    return Dataset(name="jsonl", path=str(path), **more)
