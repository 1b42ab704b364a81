"""The guard of the benchmark says what has dropped, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import DROP, EXPECTED, check
from tests.bench.measure import cost, ratio
from tests.bench.shapes import CPU, DOLLY, TINY
from tests.bench.trl import RECIPE, SIDES, TOLERANCE_NATS, collate
from tests.conftest import ROOT, environment
from tests.reading import read_json


def test_a_ratio_that_drops_by_more_than_a_quarter_fails(capsys: pytest.CaptureFixture[str]) -> None:
    expected = {"reflect": 4.0, "rouge": 20.0}
    assert check({"reflect": {"value": 3.01}, "rouge": {"value": 50.0}}, expected) == 0
    assert check({"reflect": {"value": 2.99}, "rouge": {"value": 50.0}}, expected) == 1
    assert "reflect: 2.99, expected 4.0: worse by more than a quarter" in capsys.readouterr().out
    assert check({"reflect": {"value": 4.0}}, expected) == 1
    assert "rouge: not measured" in capsys.readouterr().out
    assert DROP == 0.75


def test_the_committed_ratios_are_those_of_the_table() -> None:
    expected = read_json(EXPECTED / "expected.json")
    keys = [
        "distill_vs_padded",
        "distill_vs_dynamic",
        "cache_build",
        "run_total",
        "loss_peak_memory",
        "reflect",
        "rouge",
        "positions_step",
        "positions_memory",
        "sampled_bytes",
        "sekd_3x_total",
        "sekd_3x_passes",
    ]
    assert sorted(expected) == sorted(keys)
    assert all(value > 0.9 for value in expected.values())
    assert "bench-check" in (ROOT / "Makefile").read_text()
    assert not Path(ROOT / "tests/bench/bench.json").exists(), "measurements belong into outputs/"


def test_figures_are_ratios_of_medians_with_their_spread() -> None:
    figure = ratio([10.0, 30.0, 20.0], [2.0, 4.0, 5.0], ">= 5", "shapes")
    assert figure.value == 5.0
    assert figure.spread == (4.0, 7.5)
    assert figure.reached
    assert not cost([0.4, 0.7, 0.6], "s", "<= 0.5", "shapes").reached


def test_the_rows_stand_for_dolly() -> None:
    first = DOLLY[:16]
    assert sum(p for p, _ in first) / 16 == pytest.approx(92, abs=1)
    assert sum(r for _, r in first) / 16 == pytest.approx(89, abs=1)
    assert 376 <= max(p + r for p, r in first) <= 390
    assert CPU.lengths() == DOLLY
    assert all(p + r <= TINY.padded_tokens for p, r in TINY.lengths())


def test_trl_is_given_our_rows_and_learns_the_same_tokens() -> None:
    rows = CPU.rows()[: RECIPE.batch_sequences]
    given = [{"input_ids": row.prompt + row.response, "prompt_tokens": len(row.prompt)} for row in rows]
    batch = collate(given)
    assert batch["attention_mask"].sum(1).tolist() == [row.num_tokens for row in rows]
    assert (batch["labels"] != -100).sum(1).tolist() == [row.num_supervised for row in rows]
    learned = batch["labels"] != -100
    assert batch["labels"][learned].tolist() == [id for row in rows for id in row.response]
    assert all(RECIPE.batch_sequences % each == 0 for each, _ in SIDES.values())
    assert len(SIDES) == 3


@pytest.mark.slow
def test_trl_s_step_has_our_loss(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="pip install -e '.[trl]'")
    words = [sys.executable, "-m", "tests.bench.trl", "--tiny", "--out", str(tmp_path / "trl.json")]
    subprocess.run(words, cwd=ROOT, env=environment(), check=True, timeout=300)
    report = read_json(tmp_path / "trl.json")
    assert report["losses_apart_nats"] <= TOLERANCE_NATS
    assert report["first_loss_nats"] > 1e-3
    assert [len(losses) for losses in report["losses_nats"].values()] == [3, 3, 3, 3]
