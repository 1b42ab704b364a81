"""What a user can do wrong, said in one line: the value, what was expected, what to do next."""

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

FULL_ERROR = "HYDRA_FULL_ERROR"
"""The environment variable that asks for tracebacks."""


class UserError(Exception):
    """A mistake that the user can mend; the command line prints it alone and exits with code 2."""


def wants_traceback(asked: str | None = None) -> bool:
    """Whether the user asked for tracebacks, in the environment or by `asked`; 0, false, no and off are no."""
    value = os.environ.get(FULL_ERROR, "") if asked is None else asked
    return value.lower() not in ("", "0", "false", "no", "off")


def nearest(name: str, choices: Iterable[str]) -> str:
    """The choices as text, led by the one closest to `name` where one is close."""
    names = sorted(choices)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}choices: {', '.join(names)}" if names else "there are none"


def look_up(table: Mapping[str, T], name: str, what: str) -> T:
    """`table[name]`, or a `UserError` that names `what` was asked for and lists the choices."""
    if name not in table:
        raise UserError(f"unknown {what} '{name}'; {nearest(name, table)}")
    return table[name]


def require(holds: bool, key: str, value: object, expected: str) -> None:
    """A `UserError` naming the key, its value and what was expected, unless `holds`."""
    if not holds:
        raise UserError(f"{key}={value}: expected {expected}")


MOST = 2**31 - 1
"""The largest count that a setting takes."""

MOST_TOKENS = 2**24
"""The largest number of tokens, or of places in a vocabulary."""

LARGEST_SEED = 2**63 - 1
"""What every generator of random numbers takes."""


def require_whole(key: str, value: int, low: int, high: int, lowest_means: str = "") -> None:
    """A `UserError` unless `low <= value <= high`; `lowest_means` says what the lowest stands for."""
    lowest = f"{low} ({lowest_means})" if lowest_means else f"{low}"
    require(low <= value <= high, key, value, f"a whole number from {lowest} to {high}")


def require_seed(key: str, value: int) -> None:
    """A `UserError` unless `value` is a seed."""
    require(0 <= value <= LARGEST_SEED, key, value, f"a seed from 0 to {LARGEST_SEED} (64 bits)")


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
