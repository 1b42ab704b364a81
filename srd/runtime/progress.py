"""What a person sees while it runs: lines on stderr, and bars with rate and remaining time on a terminal."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Protocol

os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' own bars would draw over ours


LINE_SECONDS = 15.0
"""Between two progress lines where stderr is not a terminal."""


class Advance(Protocol):
    """Move a bar forward by `count`, and say something beside it."""

    def __call__(self, count: float, note: str = "") -> None: ...


class Pace:
    """How fast a count grows, over all of it, and when it will have come to `total`."""

    def __init__(self, total: float) -> None:
        self.total, self.count = total, 0.0
        self._begin = time.monotonic()

    def advance(self, count: float) -> None:
        self.count += count

    @property
    def rate(self) -> float:
        """A second."""
        return self.count / max(1e-9, time.monotonic() - self._begin)

    @property
    def seconds_left(self) -> float:
        return (self.total - self.count) / max(1e-9, self.rate)


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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        # The note gives way first where the terminal is narrow.
        TextColumn("{task.fields[note]}", style="dim", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    ]
    pace = Pace(total - done)
    with Progress(*columns, console=console(), transient=True, expand=True) as progress:
        task = progress.add_task(title, total=total, completed=int(done), rate="", left="", note="")

        def advance(count: float, note: str = "") -> None:
            pace.advance(count)
            left = f"{timedelta(seconds=round(pace.seconds_left))} left" if pace.count else ""
            progress.update(task, advance=count, rate=f"{pace.rate:.1f}/s", left=left, note=note)

        yield advance


def _lines(title: str, total: float, done: float) -> Advance:
    pace, last = Pace(total - done), time.monotonic()

    def advance(count: float, note: str = "") -> None:
        nonlocal last
        pace.advance(count)
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return
        last = now
        place = f"{done + pace.count:.0f}/{total:.0f}"
        say(f"{title}  {place}  {pace.rate:.1f}/s  {pace.seconds_left:.0f} s left  {note}")

    return advance
