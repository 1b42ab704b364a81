"""The ledgers' seconds are those that a person waits: their sum is the time that `srd run` takes."""

import time
from pathlib import Path
from typing import Any

import pytest

from srd.cli import main
from srd.commands import run as command
from srd.config import Config
from tests.reading import read_json

pytestmark = pytest.mark.slow

OUTSIDE = 0.1
"""Share of a small run that may be outside of stages: the plan, made before the first of them, and the filing. Of the
demo they were 0.8 %: 418.2 s of stages in 421.8 s of `srd run`, the loading of torch for the plan counted."""
PARTS = {
    "libraries",
    "input checks",
    "model loading",
    "fidelity check",
    "dev evaluation",
    "hashes and provenance",
    "the work itself",
}


def test_the_seconds_of_all_stages_are_the_run_s(
    smoke: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's start, the loading of its libraries (a run before this one has had them loaded) and the composing of the
    config apart."""
    spent: list[float] = []
    whole = command.run

    def timed(cfg: Config) -> None:
        begin = time.monotonic()
        whole(cfg)
        spent.append(time.monotonic() - begin)

    monkeypatch.setattr(command, "run", timed)
    monkeypatch.chdir(tmp_path)
    more = ["dataset.limit=300", "model.teacher.finetune.epochs=20", "engine.threads=1"]
    for outputs in ("before", "timed"):
        assert main(["run", *smoke, *more, f"outputs={outputs}"]) == 0
    ledgers: list[dict[str, Any]] = [read_json(path)["ledger"] for path in Path("timed").glob("*/*/manifest.json")]
    assert len(ledgers) == 13
    for ledger in ledgers:
        assert sum(ledger["seconds_by_part"].values()) == pytest.approx(ledger["seconds"], abs=1e-6)
        assert min(ledger["seconds_by_part"].values()) >= 0
    assert {part for ledger in ledgers for part in ledger["seconds_by_part"]} == PARTS
    assert len(spent) == 2
    share = sum(ledger["seconds"] for ledger in ledgers) / spent[1]
    assert 1 - OUTSIDE < share <= 1, (share, spent)
