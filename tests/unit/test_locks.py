"""One writer at a time, as long as one of its processes lives; a wait that says for whom, and ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from srd.errors import UserError
from srd.runtime.clock import Clock
from srd.store.locks import hold


def test_a_second_writer_waits_says_for_whom_and_not_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(tmp_path / "lock", "rank/1"):
        said = f"waited .* for process {os.getpid()} on "
        with pytest.raises(UserError, match=said), hold(tmp_path / "lock", "rank/1", wait_seconds=0.2):
            pytest.fail("held twice")
        assert f"process {os.getpid()} on " in capsys.readouterr().err
    with hold(tmp_path / "lock", "rank/1"):
        pass


def test_a_lock_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    said = r"lock: cannot be locked \(Is a directory\)"
    with pytest.raises(UserError, match=said), hold(tmp_path / "lock", "rank/1"):
        pytest.fail("held a folder")


def test_a_lock_deleted_while_it_is_held_is_not_held_twice(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", "rank/1"):
        (tmp_path / "lock").unlink()
        with hold(tmp_path / "lock", "rank/1"):  # another file of the same name: nobody else can know of the first
            assert (tmp_path / "lock").is_file()


def test_it_is_held_until_the_last_child_has_ended(tmp_path: Path) -> None:
    """The writer is killed, a process that it started lives on: the next one waits for that."""
    program = (
        "import os, pathlib, signal, subprocess, sys\n"
        "from srd.store.locks import hold\n"
        "with hold(pathlib.Path(sys.argv[1]), 'rank/1'):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], close_fds=False,"
        " stdout=subprocess.DEVNULL)\n"
        "    print(child.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="waited"), hold(tmp_path / "lock", "rank/1", wait_seconds=0):
        pytest.fail("held beside the child")
    os.kill(int(done.stdout), signal.SIGKILL)
    with hold(tmp_path / "lock", "rank/1", wait_seconds=30):
        pass


def test_seconds_are_those_of_all_processes_that_were_not_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    first = Clock()
    now += 7
    saved = first.seconds
    now += 5  # thrown away: killed before it saved again
    second = Clock()
    now += 2
    second.carry(saved)
    now += 1
    assert (saved, second.seconds) == (7, 10)
