"""One writer at a time: who waits says for whom, and not for ever."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srd.errors import UserError
from srd.store import locks
from srd.store.locks import hold


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(locks, "say", lines.append)
    return lines


def test_a_wait_names_its_reason_and_has_a_limit(tmp_path: Path, said: list[str]) -> None:
    with hold(tmp_path / "lock", "rank/1"):
        assert said == []
        with (
            pytest.raises(UserError, match=rf"lock: waited 0 h for process {os.getpid()} on .*; end it"),
            hold(tmp_path / "lock", "rank/1", wait_seconds=0),
        ):
            pytest.fail("held twice")
        assert len(said) == 1
        assert said[0].startswith(f"rank/1  process {os.getpid()} on ")
    with hold(tmp_path / "lock", "rank/1", wait_seconds=0):
        assert len(said) == 1


def test_a_process_that_was_started_meanwhile_holds_the_lock_too(tmp_path: Path, said: list[str]) -> None:
    """The ranks of a command that was killed: the next one waits for them."""
    with hold(tmp_path / "lock", "rank/1"):
        rank = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    try:
        with pytest.raises(UserError, match="waited"), hold(tmp_path / "lock", "rank/1", wait_seconds=0):
            pytest.fail("the rank does not hold it")
    finally:
        rank.kill()
        rank.wait()
    begin = time.monotonic()
    with hold(tmp_path / "lock", "rank/1", wait_seconds=60):
        assert time.monotonic() - begin < 30


@pytest.mark.usefixtures("said")
def test_a_folder_in_the_place_of_a_lock_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(UserError, match=r"lock: cannot be locked .*delete what is there"), hold(tmp_path / "lock", "x"):
        pytest.fail("a folder was locked")


def test_a_lock_that_was_deleted_is_made_again(tmp_path: Path, said: list[str]) -> None:
    with hold(tmp_path / "lock", "x"):
        (tmp_path / "lock").unlink()
    with hold(tmp_path / "lock", "x", wait_seconds=0):
        assert (tmp_path / "lock").is_file()
    assert said == []
