"""What a user can do wrong, said in one line: the value, what was expected, what to do next."""

import difflib
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """A mistake that the user can mend; the command line prints it alone and exits with code 2."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """The choices as text, led by the one closest to `name` where one is close."""
    names = sorted(choices)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}choices: {', '.join(names)}"


def look_up(table: dict[str, T], name: str, what: str) -> T:
    """`table[name]`, or a `UserError` that names `what` was asked for and lists the choices."""
    if name not in table:
        raise UserError(f"unknown {what} '{name}'; {nearest(name, table)}")
    return table[name]


def require(holds: bool, key: str, value: object, expected: str) -> None:
    """A `UserError` naming the key, its value and what was expected, unless `holds`."""
    if not holds:
        raise UserError(f"{key}={value}: expected {expected}")


def first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
