"""One of the processes that share a stage, run as a program: it ends with its parent at every moment of its life.

    python rank.py PARENT FOLDER NUMBER

Before anything slow is imported it has bound itself to its parent. Then it does what FOLDER/task says.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

WATCH_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def bind(parent: int) -> None:
    """Have the system kill this process as soon as `parent` is gone, where it can; now if it is already."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the system could be told
        os._exit(1)


def end_with(parent: int) -> None:
    """Have this process killed as soon as `parent` is gone, on every system."""
    bind(parent)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """For systems without such a signal."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def main(parent: str, folder: str, number: str) -> None:
    """The whole life of a rank."""
    end_with(int(parent))
    # An interrupt is the parent's to answer; a rank that is told of it as well ends at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import pickle

    with open(os.path.join(folder, "task"), "rb") as file:
        sys.path = pickle.load(file)
        from srd.runtime.processes import work_as

        code = work_as(int(number), Path(folder), *pickle.load(file))
    # Not through the interpreter's end: torch's threads may still run then, and C++ aborts a process that leaves one.
    # What the rank had to say is in its folder.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
