"""Seconds are those of the clock: of all the work that stands, whatever the time of day does."""

import re
import time
from pathlib import Path

import pytest

from srd.runtime import progress
from srd.runtime.progress import LINE_SECONDS, bar
from srd.store.artefacts import Node, Work, build
from srd.store.manifests import read_manifest
from srd.store.partial import fill


class FakeClock:
    """Stands for the time: monotonic seconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def work(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    return FakeClock(monkeypatch)


NODE = Node("reflect", 1, {"a": 1})


def ledger_seconds(outputs: Path) -> float:
    return read_manifest(NODE.folder(outputs))["ledger"]["seconds"]


def test_the_ledger_counts_loading_and_checking_too(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 s of loading, two batches of 5 s each, 7 s of a check; meanwhile the time of day is set back by a day."""

    def make(work: Work) -> None:
        monkeypatch.setattr(time, "time", lambda: 1e9 - 86400)
        clock.work(3)
        fill(work, "rows.jsonl", [1, 2], 1, compute, key=lambda row: row["id"])
        clock.work(7)

    def compute(batch: list[int], tick: object) -> tuple[list[dict[str, int]], dict[str, float]]:
        clock.work(5)
        return [{"id": item} for item in batch], {}

    build(NODE, tmp_path, make)
    assert ledger_seconds(tmp_path) == 20


def test_a_continued_run_counts_what_stands_and_not_what_the_kill_threw_away(tmp_path: Path, clock: FakeClock) -> None:
    """Loading 3 s and a batch of 5 s stand; 2 s of the next batch and a day's pause are lost; then 3 + 5 s more."""

    class Dies(BaseException):
        pass

    deaths = [Dies]

    def make(work: Work) -> None:
        clock.work(3)
        fill(work, "rows.jsonl", [1, 2], 1, compute, key=lambda row: row["id"])

    def compute(batch: list[int], tick: object) -> tuple[list[dict[str, int]], dict[str, float]]:
        if batch == [2] and deaths:
            clock.work(2)
            raise deaths.pop()
        clock.work(5)
        return [{"id": item} for item in batch], {}

    with pytest.raises(Dies):
        build(NODE, tmp_path, make)
    clock.work(86400)
    build(NODE, tmp_path, make)
    assert ledger_seconds(tmp_path) == (3 + 5) + (3 + 5)


def test_a_bar_in_tokens_knows_what_is_left_where_rows_differ(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token takes a second and the longest rows come first: by rows "left" would be twice too much."""
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    lengths = [310 - 5 * number for number in range(60)]
    left: list[tuple[float, float]] = []

    def compute(batch: list[int], tick: progress.Advance) -> tuple[list[dict[str, int]], dict[str, float]]:
        for number in batch:
            clock.work(lengths[number])
            tick(1)
            told = re.search(r"([\d.]+) s left", said[-1])
            assert told is not None
            left.append((float(told[1]), sum(lengths[number + 1 :])))
        return [{"id": number} for number in batch], {}

    items = list(range(len(lengths)))
    fill(
        Work(NODE, tmp_path, {}),
        "rows.jsonl",
        items,
        4,
        compute,
        key=lambda row: row["id"],
        tokens=lambda number: lengths[number],
    )
    assert len(left) == len(said) > 50
    assert all(told == pytest.approx(true, rel=0.3) for told, true in left if true > 100)


def test_a_bar_that_starts_in_the_middle_counts_its_own_rate(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    with bar("cache, tokens", 1000, 500) as advance:
        clock.work(LINE_SECONDS)
        advance(100)
    assert len(said) == 1
    assert "600/1000" in said[0]
    assert f"{400 * LINE_SECONDS / 100:.0f} s left" in said[0]
