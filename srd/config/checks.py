"""Every value of a config checked in one walk, so that each error names its full key: numbers that are finite and fit,
then the ranges that each section states.
"""

import math
from dataclasses import fields, is_dataclass
from typing import Any

from srd.errors import LARGEST_SEED, require


def check_sections(value: Any, key: str = "") -> None:
    """A `UserError` for the first value, at `key` or under it, that is not finite, does not fit 64 bits or is out of
    the range that its section states."""
    inner: dict[str, Any] = {}
    if is_dataclass(value):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, dict):
        inner = {str(name): each for name, each in value.items()}
    for name, each in inner.items():
        check_sections(each, f"{key}.{name}" if key else name)
    for each in value if isinstance(value, list) else [value]:
        if isinstance(value, list):
            require(not isinstance(each, list | dict), key, value, "a list without another list in it")
        if isinstance(each, float):
            require(math.isfinite(each), key, value, "a finite number")
        elif isinstance(each, int):
            require(abs(each) <= LARGEST_SEED, key, value, "a number of at most 64 bits")
    check = getattr(value, "check", None)
    if check is not None:
        check(key)
