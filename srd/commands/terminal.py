"""The terminal: words that Hydra does not read, tables, short texts."""

import os
import re
import shlex
import shutil
import textwrap
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from srd.errors import UserError


def outputs_of(rest: list[str], flags: tuple[str, ...] = ()) -> tuple[Path, list[str]]:
    """The outputs folder of a command that Hydra does not read (`outputs=…`), and its other words; a flag among them
    that is none of its `flags` is a `UserError`."""
    for word in rest:
        if word.startswith("-") and word not in flags:
            raise UserError(f"unknown flag '{word}'; there are {', '.join(['outputs=FOLDER', *flags])} and --help")
    chosen = [word.removeprefix("outputs=") for word in rest if word.startswith("outputs=")]
    folder = Path(os.path.expanduser(chosen[-1] if chosen else "outputs"))
    return folder, [word for word in rest if not word.startswith("outputs=")]


NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]\d+)?( [A-Za-z]+)?")
"""A cell that is set to the right: a number, with its unit."""


def size(held: float) -> str:
    """Bytes in the unit that a person would choose."""
    return f"{held / 1e9:.1f} GB" if held >= 1e9 else f"{held / 1e6:.1f} MB"


def clock(seconds: float) -> str:
    """Hours, minutes or seconds, as a person says them."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def shortened(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def hanging(label: str, text: str) -> str:
    """A label and its text, folded beside it to the terminal's width; one line where there is no terminal."""
    columns = shutil.get_terminal_size(fallback=(0, 0)).columns
    if columns < 2 * len(label):
        return label + text
    return textwrap.fill(text, columns, initial_indent=label, subsequent_indent=" " * len(label))


def one_word(words: list[str], command: str, what: str, default: str | None = None) -> str:
    if len(words) > 1 or (not words and default is None):
        raise UserError(
            f"srd {command}: expected one {what}, got {len(words)} words; usage: srd {command} {what.upper()} "
            "[outputs=FOLDER]"
        )
    word = words[0] if words else str(default)
    if word.startswith(f"{what}="):
        name = word.partition("=")[2]
        raise UserError(f"{word}: srd {command} takes the name alone; write: {shlex.join(['srd', command, name])}")
    return word


def print_table(header: list[str], lines: list[list[str]], title: str | None = None) -> None:
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name, column in zip(header, zip(*lines, strict=True), strict=True):
        numeric = all(NUMBER.fullmatch(cell) for cell in column if cell)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    Console(highlight=False).print(table)
