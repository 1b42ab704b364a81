"""One line for what Hydra and OmegaConf say of overrides: what was wrong, what was expected, what to write."""

import re

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
    ValidationError,
)

from srd.commands.schema import expected, groups, kinds, nearest_key, options
from srd.errors import nearest


def explain(error: Exception) -> str:
    """The line for an error of composing."""
    cause = error
    while cause.__cause__ is not None and isinstance(cause.__cause__, HydraException | OmegaConfBaseException):
        cause = cause.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.partition("/")
        known = nearest(name, options(group)) if group in groups() else f"groups: {', '.join(groups())}"
        return f"unknown option '{group}={name}'; {known}"
    text = " ".join(str(cause).split(" full_key:")[0].splitlines()[0].split())
    key = str(getattr(cause, "full_key", None) or "")
    if isinstance(cause, MissingMandatoryValue):
        return f"{key} is not set; give it a value, as in model.teacher.name=… model.student.name=…"
    if isinstance(error, OverrideParseException):
        return f"cannot read the override '{error.override}'; expected key=value, group=option, +key=value or ~key"
    if isinstance(cause, InterpolationKeyError | InterpolationResolutionError | UnsupportedInterpolationType):
        return f"{key}: nothing is called what ${{…}} names ({text}); write the value itself"
    if key and isinstance(cause, ValidationError):
        return _wrong_type(key, getattr(cause, "value", None))
    if key and "not in" in text:
        return f"unknown key '{key}'; {nearest_key(key)}"
    if "No match in the defaults list" in text and isinstance(error, HydraException):
        return f"{text.split('. ')[0]}: experiments bring protocols, and a table runs as `srd table NAME`"
    if "In '" in text and "not find" in text:
        return f"{text}; groups: {', '.join(groups())}"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return f"these words make no config ({text}); see `srd run --cfg job` for what can be set"
    return f"{key}: {text}" if key and key not in text else text


def _wrong_type(key: str, value: object) -> str:
    """The line for a value that a key cannot have."""
    shown = "null" if value is None else "''" if value == "" else str(value)
    whole = re.sub(r"\[\d+\]$", "", key)
    # The sections of a table of data sets are data sets.
    field = re.sub(r"^evaluate\.suites\.[^.]+\.", "dataset.", whole)
    return f"{whole}={shown}: expected {expected(field) if field in kinds() else 'a value of another type'}"
