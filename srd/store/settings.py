"""The settings of a node, typed: the dictionary that a fingerprint is made from, as the dataclass of its stage.

A stage reads these and no config, so that what is not in the fingerprint cannot change its result.
"""

from typing import Any, TypeVar

from omegaconf import OmegaConf

Settings = TypeVar("Settings")


def typed(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """`values` as a `kind`, sections too; one that the dataclass has no field for is an OmegaConf error."""
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), values))
    assert isinstance(settings, kind)
    return settings
