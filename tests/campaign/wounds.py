"""Wounds: at which write, or after how long, which signal reaches whom."""

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
MOST_DELAY_SECONDS = 0.004
"""After a write of Python's: libraries that write by themselves (safetensors, tokenizers) are met in the middle."""


@dataclass(frozen=True)
class Wound:
    """A signal for a command at work."""

    signal: signal.Signals
    whom: str
    """first: the first process alone; group: all of them; other: one that the first has started."""
    writes: int | None = None
    """Before which of its writes under `outputs`, counted from 1; none: after `seconds`."""
    delay: float = 0.0
    """Seconds after that write."""
    seconds: float = 0.0

    def __str__(self) -> str:
        when = f"after {self.seconds:.2f} s" if self.writes is None else f"at write {self.writes} + {self.delay:.4f} s"
        return f"{self.signal.name} to {self.whom} {when}"


def draw(rng: Random, writes: int, seconds: float, shared: bool) -> Wound:
    """A wound for a command that makes so many writes in so many seconds; `shared`: by several processes."""
    if shared:
        whom = rng.choice(["first", "group", "other"])
        which = signal.SIGKILL if whom == "other" else rng.choice(SIGNALS)
        return Wound(which, whom, seconds=rng.uniform(0.0, seconds))
    delay = rng.choice([0.0, rng.uniform(0.0, MOST_DELAY_SECONDS)])
    whom = rng.choice(["first", "group"])
    return Wound(rng.choice(SIGNALS), whom, rng.randint(1, max(1, writes)), delay)


class Writes:
    """Counts the writes of this process under a folder, and strikes at the one that the wound names."""

    def __init__(self, folder: Path, wound: Wound | None) -> None:
        self.folder, self.wound, self.count = str(folder), wound, 0
        sys.addaudithook(self._seen)

    def _seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes | os.PathLike) or not isinstance(flags, int) or not flags & WRITING:
                return
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            path = arguments[0]
        else:
            return
        if os.path.abspath(os.fsdecode(path)).startswith(self.folder):
            self.count += 1
            if self.wound is not None and self.count == self.wound.writes:
                self._strike(self.wound)

    def _strike(self, wound: Wound) -> None:
        send = os.killpg if wound.whom == "group" else os.kill
        if wound.delay == 0:
            send(os.getpid(), wound.signal)  # it leads its own group
        else:
            timer = threading.Timer(wound.delay, send, (os.getpid(), wound.signal))
            timer.daemon = True
            timer.start()
