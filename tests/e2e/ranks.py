"""What ranks do in tests: programs that `processes.launch` runs, in a file that ranks can import."""

import os
import signal
import time
from pathlib import Path

from srd.errors import UserError
from srd.runtime import processes


def meet(note: str) -> str:
    """All is well."""
    return f"{note} {processes.count()} {processes.merged([processes.index()])}"


def one_is_killed() -> None:
    """The second rank is killed while the first waits for it."""
    if not processes.is_first():
        os.kill(os.getpid(), signal.SIGKILL)
    processes.wait()


def one_is_late() -> None:
    """The second rank never comes to the meeting."""
    if not processes.is_first():
        time.sleep(60)
    processes.wait()


def one_is_mistaken() -> None:
    """The second rank finds a mistake of the user's while the first waits for it."""
    if not processes.is_first():
        raise UserError("filter.keep=2: expected a share")
    processes.wait()


def one_has_a_fault() -> None:
    """The second rank fails in a way that nobody thought of while the first waits for it."""
    if not processes.is_first():
        raise ZeroDivisionError("a fault of the program")
    processes.wait()


def stay(folder: Path) -> None:
    """Say that it is at work, and stay there."""
    (folder / f"at-work-{processes.index()}").write_text(str(os.getpid()))
    time.sleep(300)
