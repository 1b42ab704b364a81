"""What a person sees while it runs: lines on stderr, and bars with rate and remaining time on a terminal."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Protocol

os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' own bars would draw over ours


LINE_SECONDS = 15.0
"""Between two progress lines where stderr is not a terminal."""


class Advance(Protocol):
    """Move a bar forward by `count`, and say something beside it."""

    def __call__(self, count: float, note: str = "") -> None: ...


@cache
def console():
    """The console of all messages; results go to stdout, messages here."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=sys.stderr is None or not sys.stderr.isatty())


def quiet(whether: bool) -> None:
    """Say nothing and draw no bars from here on: where several processes do one thing, one of them speaks."""
    console().quiet = whether


def say(line: str) -> None:
    """One line to the person, with the time of day; lost where stderr is closed or full, for it is no result."""
    from rich.markup import escape

    with suppress(OSError, ValueError):
        console().print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {escape(line)}")


@cache
def say_once(line: str) -> None:
    """The same for a line that several places would say: only the first of them does."""
    say(line)


@contextmanager
def bar(title: str, total: float, done: float = 0) -> Iterator[Advance]:
    """A progress bar with rate and remaining time; a line now and then where stderr is not a terminal."""
    if console().is_terminal:
        with _rich_bar(title, total, done) as advance:
            yield advance
    else:
        yield _lines(title, total, done)


@contextmanager
def _rich_bar(title: str, total: float, done: float) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        # The note gives way first where the terminal is narrow.
        TextColumn("{task.fields[note]}", style="dim", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    ]
    begin, count_done = time.monotonic(), 0.0
    with Progress(*columns, console=console(), transient=True, expand=True) as progress:
        task = progress.add_task(title, total=total, completed=int(done), rate="", note="")

        def advance(count: float, note: str = "") -> None:
            nonlocal count_done
            count_done += count
            rate = count_done / max(1e-9, time.monotonic() - begin)
            progress.update(task, advance=count, rate=f"{rate:.1f}/s", note=note)

        yield advance


def _lines(title: str, total: float, done: float) -> Advance:
    begin, last, count_done = time.monotonic(), time.monotonic(), 0.0

    def advance(count: float, note: str = "") -> None:
        nonlocal last, count_done
        count_done += count
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return
        last = now
        rate = count_done / (now - begin)
        left = (total - done - count_done) / max(1e-9, rate)
        say(f"{title}  {done + count_done:.0f}/{total:.0f}  {rate:.1f}/s  {left:.0f} s left  {note}")

    return advance
