"""Ranks, fusion and phases: golden order, ties, independence of input order."""

import json
import random
from pathlib import Path

import pytest

from srd.config import Schedule
from srd.errors import UserError
from srd.ranking import SIGNALS, mean_ranks, rank
from srd.rows import Reflection, Selected
from srd.schedules import baby_step, cosine, none, schedule
from srd.stages.filter import easiest


def reflections(count: int = 30) -> list[Reflection]:
    chance = random.Random(1)
    return [Reflection(f"{i:016x}", "", round(chance.random(), 1), round(chance.random(), 1), 3) for i in range(count)]


def test_golden_order_of_the_official_code(shared: Path) -> None:
    golden = json.loads((shared / "golden/ranking.json").read_text())
    rows = [Reflection(str(s["id"]), "", s["rouge_l"], s["ce"], 1) for s in golden["samples"]]
    ours = [int(row["id"]) for row in rank(rows, ["rouge_l", "nll"], golden["rrf_k"])]
    assert ours == golden["easy_to_hard_ids"]
    assert len(ours) == len(golden["samples"]) > 10


def test_equal_values_share_their_mean_rank() -> None:
    assert mean_ranks({"a": 1.0, "b": 2.0, "c": 2.0, "d": 3.0}) == {"a": 1.0, "b": 2.5, "c": 2.5, "d": 4.0}


def test_input_order_does_not_matter() -> None:
    rows = reflections()
    shuffled = random.Random(2).sample(rows, len(rows))
    assert rank(rows, list(SIGNALS), 60) == rank(shuffled, list(SIGNALS), 60)
    assert [row["rank"] for row in rank(rows, list(SIGNALS), 60)] == list(range(1, 31))


def test_one_signal_alone_orders_by_that_signal() -> None:
    rows = {row.id: row for row in reflections()}
    by_rouge = [rows[row["id"]].rouge_l for row in rank(list(rows.values()), ["rouge_l"], 60)]
    by_nll = [rows[row["id"]].nll for row in rank(list(rows.values()), ["nll"], 60)]
    assert by_rouge == sorted(by_rouge, reverse=True)
    assert by_nll == sorted(by_nll)


def test_a_signal_that_is_not_a_number_is_named() -> None:
    with pytest.raises(UserError, match="nll of sample 0000000000000001 is not a number"):
        rank([Reflection("0" * 15 + "1", "", 0.5, float("nan"), 1)], ["nll"], 60)


@pytest.mark.parametrize(("keep", "expected"), [(0.75, 9), (0.5, 6), (1.0, 12), (0.7, 8)])
def test_filter_keeps_the_easiest_share(keep: float, expected: int) -> None:
    ranking = [Selected(str(i), i) for i in range(12, 0, -1)]
    kept = easiest(ranking, keep)
    assert [row.rank for row in kept] == list(range(1, expected + 1))


def test_filter_that_leaves_nothing_says_so() -> None:
    with pytest.raises(UserError, match="no samples left of 12"):
        easiest([Selected(str(i), i) for i in range(12)], 0.01)


def test_baby_step_is_cumulative_and_ends_with_all() -> None:
    ids = [str(i) for i in range(11)]
    phases = baby_step(ids, 3)
    assert [len(phase) for phase in phases] == [4, 8, 11]
    assert all(ids[: len(phase)] == phase for phase in phases)
    assert none(ids, 1) == [ids]
    with pytest.raises(UserError, match=r"more phases than samples \(11\)"):
        baby_step(ids, 12)


def test_three_phases_of_three_quarters_cost_sixty_percent_of_the_passes() -> None:
    count, epochs = 1200, 8
    phases = baby_step([str(i) for i in range(int(0.75 * count))], 3)
    assert epochs * sum(map(len, phases)) / (2.5 * epochs * count) == pytest.approx(0.6)


def test_srd_schedule_rises_in_temperature_and_falls_in_sft_weight() -> None:
    phases = schedule(Schedule(), 3)
    assert [phase.temperature for phase in phases] == [1.0, 1.5, 2.0]
    assert [phase.sft_weight for phase in phases] == pytest.approx([0.3, 0.2, 0.1])
    assert schedule(Schedule(), 1)[0].temperature == 1.0


def test_learning_rate_warms_up_peaks_and_ends_where_told() -> None:
    rates = [cosine(step, 100, 1e-3, 1e-7, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-7)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert cosine(0, 1, 1e-3, 1e-7, 0) == pytest.approx(1e-3)
