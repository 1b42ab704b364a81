"""Seconds are those of the clock: of all the work that stands, whatever the time of day does."""

import re
import time
from pathlib import Path

import pytest

from srd.config import Recipe
from srd.distillation.loss import reference_loss
from srd.runtime import progress
from srd.runtime.progress import LINE_SECONDS, bar
from srd.store import artefacts
from srd.store.artefacts import Node, Work, build
from srd.store.manifests import read_manifest
from srd.store.partial import fill
from srd.text.encoding import Encoded
from srd.training.order import PhaseOrder, PhaseWork, tokens_before
from tests.small import model, training


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


def test_every_second_from_the_first_check_to_the_manifest_is_in_one_part(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two inputs checked in 2 s each, a model of 3 s that is loaded while the dev split waits, dev rows of 4 s, twice,
    6 s of work in no part, a file hashed in 5 s, 7 s of asking git: 33 s in all."""
    spent = {"check_contents": 2, "digest": 5, "provenance": 7}
    for name, seconds in spent.items():
        known = getattr(artefacts, name)
        monkeypatch.setattr(artefacts, name, lambda *a, k=known, s=seconds: (clock.work(s), k(*a))[1])

    def make(work: Work) -> None:
        with work.clock.part("dev evaluation"):
            clock.work(4)
            with work.clock.part("model loading"):
                clock.work(3)
        clock.work(6)
        with work.clock.part("dev evaluation"):
            clock.work(4)
        (work.path / "file").touch()
        work.leaves.add("file")

    inputs = {name: Node("samples", 1, {"name": name}) for name in ("one", "other")}
    for node in inputs.values():
        build(node, tmp_path, lambda work: None)
    node, begin = Node("reflect", 1, {}, inputs), clock.now
    folder = build(node, tmp_path, make)
    ledger = read_manifest(folder)["ledger"]
    assert ledger["seconds"] == clock.now - begin == 33
    assert ledger["seconds_by_part"] == {
        "input checks": 4,
        "model loading": 3,
        "dev evaluation": 8,
        "hashes and provenance": 12,
        "the work itself": 6,
    }


def test_a_continued_run_counts_what_stands_and_not_what_the_kill_threw_away(tmp_path: Path, clock: FakeClock) -> None:
    """Loading 3 s and a batch of 5 s stand; 2 s of the next batch and a day's pause are lost; then 3 + 5 s more."""

    class Dies(BaseException):
        pass

    deaths = [Dies]

    def make(work: Work) -> None:
        with work.clock.part("model loading"):
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
    ledger = read_manifest(NODE.folder(tmp_path))["ledger"]
    assert ledger["seconds"] == (3 + 5) + (3 + 5)
    assert ledger["seconds_by_part"]["model loading"] == 3 + 3
    assert sum(ledger["seconds_by_part"].values()) == 16


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


@pytest.mark.parametrize("longest_first", [True, False])
def test_a_training_s_bar_knows_what_is_left_where_rows_differ(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, longest_first: bool
) -> None:
    """Rows of 2 to 300 tokens in the order of their lengths, a second a token, two phases, dev rows of 500 tokens at
    the end of every epoch: by steps "left" would be up to three times too much, or a third of it."""
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    lengths = sorted((2 + i * i // 12 for i in range(60)), reverse=longest_first)
    rows = [Encoded(f"{i:016x}", [1], [2] * (length - 1), False) for i, length in enumerate(lengths)]
    made = training(tmp_path / "run", model(), Recipe(epochs=2, batch_sequences=4))
    taken: list[int] = []

    def step(rows: list[Encoded], *_: object) -> dict[str, float]:
        taken.append(sum(row.num_tokens for row in rows))
        clock.work(taken[-1])
        made.state.counters.phase_step += 1
        made.state.counters.step += 1
        return {"train/loss_nats": 0.0}

    monkeypatch.setattr(made.updater, "step", step)
    monkeypatch.setattr(made.state, "save", lambda: None)
    phases = [PhaseWork(rows, reference_loss(8), shuffled=False), PhaseWork(rows[:20], reference_loss(8))]
    total, done = made.tokens(phases, 500)
    assert (total, done) == (2 * (sum(lengths) + sum(lengths[:20])) + 4 * 500, 0)
    left: list[tuple[float, float]] = []

    def look(count: float, note: str = "") -> None:
        before = len(said)
        told_of(count, note)
        if len(said) > before:
            told = re.search(r"([\d.]+) s left", said[-1])
            assert told is not None
            left.append((float(told[1]), total - (clock.now - 1000)))

    with bar("distill, tokens", total) as told_of:
        made.train(phases, look, lambda phase, epoch: clock.work(500), dev_tokens=500)
    assert len(taken) == 2 * (15 + 5)
    assert clock.now == 1000 + total
    later = [(told, true) for told, true in left if 0 < true <= 0.9 * total]
    assert len(later) > 20
    assert all(told == pytest.approx(true, rel=0.3) for told, true in later)


@pytest.mark.parametrize("phase_step", [0, 1, 3, 4, 7])
def test_a_training_that_goes_on_knows_what_lies_behind_it(phase_step: int) -> None:
    """Two epochs of 10 rows in steps of 3 (4 an epoch), in the second of two phases."""
    recipe = Recipe(epochs=2, batch_sequences=3)
    rows = [Encoded(f"{i:016x}", [1] * (i + 1), [2], False) for i in range(10)]
    phases = [PhaseWork(rows[:5], reference_loss(8)), PhaseWork(rows, reference_loss(8))]
    order = PhaseOrder(phases[1], recipe, 1)
    behind = sum(row.num_tokens for step in range(phase_step) for row in order.rows(step))
    dev = 100 * (2 + phase_step // 4)
    assert order.steps == 8
    assert tokens_before(phases, recipe, 1, phase_step, 100) == 2 * (2 + 3 + 4 + 5 + 6) + behind + dev
