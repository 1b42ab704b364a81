"""Ranks end with their parent at every moment of their life; one that fails is one line."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from srd.errors import UserError
from srd.runtime import processes
from srd.store.locks import hold
from tests.conftest import ROOT, environment
from tests.e2e import ranks

pytestmark = pytest.mark.slow

PARENT = """
import sys
from pathlib import Path
from srd.runtime import processes
from srd.store.locks import hold
from tests.e2e.ranks import stay
folder = Path(sys.argv[1])
with hold(folder / "lock", "this test"):
    processes.launch(2, stay, folder)
"""


def test_what_the_first_rank_returns_comes_back() -> None:
    assert processes.launch(2, ranks.meet, "all") == "all 2 [0, 1]"


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (ranks.one_is_killed, UserError, r"process 2 of engine.processes=2 was ended by SIGKILL .*; the same command"),
        (ranks.one_is_late, UserError, r"process 1 of engine.processes=2 waited 3 s for the others in vain; end what"),
        (ranks.one_is_mistaken, UserError, "^filter.keep=2: expected a share$"),
        (ranks.one_has_a_fault, RuntimeError, "a process failed: ZeroDivisionError: a fault of the program\n"),
    ],
)
def test_a_rank_that_fails_is_told_once(
    capfd: pytest.CaptureFixture[str], program: Callable[[], None], error: type[BaseException], message: str
) -> None:
    with pytest.raises(error, match=message):
        processes.launch(2, program, patience_seconds=3 if program is ranks.one_is_late else 60)
    assert "Traceback" not in capfd.readouterr().err


def rank_ids(folder: Path) -> list[int]:
    """The ranks of the parent whose only argument is `folder`, alive, by the system's list."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,ppid,stat,args"], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.split(maxsplit=3) for line in listed.splitlines()[1:]]
    parents = {pid for pid, _, _, words in lines if words.endswith(str(folder))}
    return [int(pid) for pid, ppid, state, words in lines if ppid in parents and "rank.py" in words and state[0] != "Z"]


def alive(ids: list[int]) -> list[int]:
    states = subprocess.run(["ps", "-o", "pid=,stat=", "-p", ",".join(map(str, ids))], capture_output=True, text=True)
    return [int(line.split()[0]) for line in states.stdout.splitlines() if line.split()[1][0] != "Z"]


def wait_for(holds: Callable[[], object], seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["born", "at work"])
def test_ranks_end_with_their_parent_and_hold_its_lock_until_then(
    tmp_path: Path, end: signal.Signals, moment: str
) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)],
        env=environment(),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(lambda: len(rank_ids(tmp_path)) == 2)
    if moment == "at work":
        wait_for(lambda: len(list(tmp_path.glob("at-work-*"))) == 2)
    ids = rank_ids(tmp_path)
    assert len(ids) == 2
    parent.send_signal(end)
    parent.wait(timeout=60)
    wait_for(lambda: not alive(ids), seconds=30)
    # Not at once: a process is a zombie before the last of its threads is gone.
    with hold(tmp_path / "lock", "the next", wait_seconds=30):
        pass
