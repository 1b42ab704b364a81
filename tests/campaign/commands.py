"""`srd` as a command of its own: in a process group of its own, within limits, whole or wounded."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.campaign.trials import Ran
from tests.campaign.wounds import Wound, Writes
from tests.conftest import command, environment

LIMIT_SECONDS = 150
MEMORY_BYTES = 8 << 30
FILE_BYTES = 200 << 20
GRACE_SECONDS = 15.0
"""For what a killed command has started to end by itself."""
STARTED_SECONDS = 1.0
"""For the interpreter to come to the program's first line: before it, an interrupt ends it in its own way."""
COUNTED = "writes"
"""File in the command's folder: how many writes it made under outputs/."""


def srd(
    *words: str, cwd: Path, wound: Wound | None = None, real: bool = False, limit_seconds: float = LIMIT_SECONDS
) -> Ran:
    """Run `srd` to its end, its limit or its wound; nothing that it has started lives on."""
    process = start(*words, cwd=cwd, wound=wound, real=real)
    return finish(process, words, cwd, wound, limit_seconds)


def start(*words: str, cwd: Path, wound: Wound | None = None, real: bool = False) -> BaseProcess:
    """`srd` at work; forked from a process that has done its imports, or `real`ly as a user starts it."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["srd.cli", "srd.commands.compose", "srd.stages.distill", "srd.stages.reflect"])
    (cwd / COUNTED).unlink(missing_ok=True)
    process = forks.Process(target=_child, args=(words, cwd, wound, real))
    process.start()
    return process


def finish(
    process: BaseProcess, words: tuple[str, ...], cwd: Path, wound: Wound | None = None, limit_seconds: float = 150
) -> Ran:
    """The command that has ended, by itself or by the wound that is to come after some time."""
    assert process.pid is not None
    if wound is not None and wound.writes is None:
        process.join(wound.seconds + (STARTED_SECONDS if wound.signal == signal.SIGINT else 0))
        _strike(process.pid, wound)
    process.join(limit_seconds)
    code = process.exitcode
    left = _left(process.pid) if code is not None and wound is not None else 0
    for pid in _group(process.pid):
        _kill(pid, signal.SIGKILL)
    process.join()
    out, err = (
        (cwd / name).read_text(errors="replace") if (cwd / name).exists() else "" for name in ("stdout", "stderr")
    )
    return Ran(words, code, out, err, left)


def _child(words: tuple[str, ...], cwd: Path, wound: Wound | None, real: bool) -> None:
    """The life of the command: its own group, its own folder, its limits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()
    os.chdir(cwd)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environment(), HOME=str(cwd))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if real:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(sys.executable, command(*words), dict(os.environ))
    writes = Writes(cwd / "outputs", wound)
    from srd.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = main(list(words))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (cwd / COUNTED).write_text(str(writes.count))
    sys.exit(code)


def _strike(pid: int, wound: Wound) -> None:
    others = [each for each in _group(pid) if each != pid]
    whom = {"first": [pid], "group": [pid, *others], "other": others[-1:]}[wound.whom]
    for each in whom:
        _kill(each, wound.signal)


def _left(pid: int) -> int:
    """How many of its group live on when there was time to end."""
    limit = time.monotonic() + GRACE_SECONDS
    while (living := len(_group(pid))) and time.monotonic() < limit:
        time.sleep(0.05)
    return living


def _group(leader: int) -> list[int]:
    """Living processes of a group that one of ours leads."""
    shown = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    return [int(pid) for pid, group, state in rows if int(group) == leader and not state.startswith("Z")]


def _kill(pid: int, which: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, which)
