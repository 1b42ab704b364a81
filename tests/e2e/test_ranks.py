"""Processes that share a stage end with the one that started them, and with each other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srd.errors import UserError
from srd.runtime import processes
from tests.conftest import ROOT, environment

pytestmark = pytest.mark.slow


def killed(number: int) -> None:
    """One rank is killed, as the system does where memory is short; the others wait for it."""
    if processes.index() == 1:
        os.kill(os.getpid(), number)
    processes.wait()


def late(seconds: float) -> None:
    """One rank does not come to the meeting."""
    if processes.index() == 1:
        time.sleep(seconds)
    processes.wait()


def hungry() -> None:
    raise MemoryError("Unable to allocate 9 TiB")


def lasting(folder: Path) -> None:
    (folder / f"pid-{processes.index()}").write_text(str(os.getpid()))
    time.sleep(300)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_rank_is_one_line(number: signal.Signals) -> None:
    with pytest.raises(UserError, match=rf"process 2 of engine.processes=2 was ended by {number.name}"):
        processes.launch(2, killed, number)


def test_a_wait_for_the_others_has_an_end() -> None:
    with pytest.raises(UserError, match=r"process 1 of engine.processes=2 waited 5 s for the others in vain"):
        processes.launch(2, late, 300, patience_seconds=5)


def test_a_lack_of_memory_comes_back_as_such() -> None:
    with pytest.raises(MemoryError, match="9 TiB"):
        processes.launch(2, hungry)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def ranks_of(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("at", ["start", "import", "work"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_ranks_end_with_their_parent(tmp_path: Path, at: str, number: signal.Signals) -> None:
    """At their first instruction, while they import torch, and at work."""
    program = (
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from srd.runtime import processes\n"
        "from tests.e2e.test_ranks import lasting\n"
        "processes.launch(2, lasting, pathlib.Path(sys.argv[1]))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL
    )
    ranks: list[int] = []
    while len(ranks) < 2:
        ranks = ranks_of(parent.pid)
    if at == "import":
        time.sleep(0.3)
    while at == "work" and len(list(tmp_path.glob("pid-*"))) < 2:
        time.sleep(0.05)
    parent.send_signal(number)
    parent.wait(timeout=60)
    end = time.monotonic() + 60  # they end at once; a busy machine is slow to start what has to end
    while any(map(alive, ranks)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, ranks))
