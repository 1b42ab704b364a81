"""One writer at a time: a lock of the system's, which lets go of it when the last process that has it dies.

Not the package filelock: the processes that share a stage must inherit the open file, whose number it does not tell.
"""

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srd.errors import UserError
from srd.runtime.progress import say

WAIT_SECONDS = 24 * 3600.0
"""A wait that is longer than any artefact should take ends with an error."""
RETRY_SECONDS = 0.1


@contextmanager
def hold(path: Path, what: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock file while `what` is made.

    Waiting is said; one that lasts too long, and a file that cannot be locked, is a `UserError`. The processes that
    are started meanwhile by `processes.launch` hold it too: where this one is killed, the next waits for them.
    """
    try:
        number = _acquired(path, wait_seconds=0)
        if number is None:
            say(f"{what}  {_holder(path)} is making it; waiting, {wait_seconds / 3600:g} h at most")
            number = _acquired(path, wait_seconds)
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror}); expected a file, delete what is there") from None
    if number is None:
        raise UserError(
            f"{path}: waited {wait_seconds / 3600:g} h for {_holder(path)}; end it, and the same command continues"
        )
    try:
        os.ftruncate(number, 0)
        os.write(number, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        os.close(number)


def _acquired(path: Path, wait_seconds: float) -> int | None:
    """The number of the locked file, which child processes inherit; None where another process kept it."""
    end = time.monotonic() + wait_seconds
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(number), os.stat(path)):
                os.set_inheritable(number, True)
                return number
        except (BlockingIOError, FileNotFoundError):
            pass  # held by another, or deleted under us: tried again
        except BaseException:
            os.close(number)
            raise
        os.close(number)
        if time.monotonic() >= end:
            return None
        time.sleep(RETRY_SECONDS)


def _holder(path: Path) -> str:
    """Who has the lock, as it says of itself."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    except OSError:
        return "another process"
