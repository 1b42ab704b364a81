"""Ranks, fusion and phases: golden order, ties, independence of input order."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srd.config import Curriculum, Ramp, Schedule
from srd.distillation.schedules import cosine, phase_values, schedule
from srd.errors import UserError
from srd.metrics import METRICS
from srd.report.noise import roc_auc
from srd.selection.curricula import CURRICULA, baby_step, none
from srd.selection.ranking import ENDS, SIGNALS, difficulties, easiest, hardest, mean_ranks, rank, sources, uniform
from srd.store.columns import Columns
from srd.store.rows import Reflection, Sample
from tests.composing import config
from tests.reading import read_json


def reflections(count: int = 30) -> list[Reflection]:
    chance = random.Random(1)
    return [
        Reflection(f"{i:016x}", "", {"rouge_l": round(chance.random(), 1)}, round(chance.random(), 1), 3)
        for i in range(count)
    ]


def samples(count: int = 30) -> list[Sample]:
    return [Sample(f"{i:016x}", f"ask {i}", "", "word " * (1 + 7 * i % 11), "train") for i in range(count)]


def columns(rows: list[Any], *names: str) -> Columns:
    return {name: np.array([getattr(row, name) for row in rows]) for name in names}


def reflected(rows: list[Reflection]) -> Columns:
    return columns(rows, "id", "nll") | {"rouge_l": np.array([row.metrics["rouge_l"] for row in rows])}


GRADED = {name: f"{name}_grades" for name in METRICS if name != "rouge_l"} | {"pass_rate": "verified_answers"}
SCORED = ("student_entropy", "teacher_nll", "forward_kl", "nll_ratio")


def measured(rows: list[Reflection]) -> dict[str, Columns]:
    """Columns by source; the scores are made of the ids, in an order of their own."""
    ids = sorted((row.id for row in rows), key=lambda id: id[::-1])
    scores = {name: np.array([uniform(id, name) for id in ids]) for name in SCORED}
    graded = {source: {"id": np.array(ids), name: scores["forward_kl"].round(1)} for name, source in GRADED.items()}
    return {"reflections": reflected(rows), "teacher_scores": {"id": np.array(ids), **scores}, **graded}


def rows_of(ranking: Columns) -> list[dict[str, Any]]:
    return [
        dict(zip(ranking, values, strict=True))
        for values in zip(*(column.tolist() for column in ranking.values()), strict=True)
    ]


def ranked(rows: list[Reflection], signals: list[str], k: float = 60, seed: int = 10) -> list[dict[str, Any]]:
    known = {row.id for row in rows}
    return rows_of(
        rank(difficulties(signals, [sample for sample in samples() if sample.id in known], measured(rows), seed), k)
    )


def test_golden_order_of_the_official_code(shared: Path) -> None:
    golden = read_json(shared / "golden/ranking.json")
    rows = [Reflection(str(s["id"]), "", {"rouge_l": s["rouge_l"]}, s["ce"], 1) for s in golden["samples"]]
    ours = rank(difficulties(["rouge_l", "nll"], [], measured(rows), 0), golden["rrf_k"])["id"].astype(int).tolist()
    assert ours == golden["easy_to_hard_ids"]
    assert len(ours) == len(golden["samples"]) > 10


def test_equal_values_share_their_mean_rank() -> None:
    assert mean_ranks(np.array([3.0, 2.0, 1.0, 2.0, -0.0, 0.0])).tolist() == [6.0, 4.5, 3.0, 4.5, 1.5, 1.5]


@pytest.mark.parametrize("signals", [["rouge_l"], ["nll"], ["rouge_l", "nll"], ["length"], ["random"], list(SIGNALS)])
def test_input_order_does_not_matter(signals: list[str]) -> None:
    rows = reflections()
    shuffled = random.Random(2).sample(rows, len(rows))
    assert ranked(rows, signals) == ranked(shuffled, signals)
    assert [row["rank"] for row in ranked(rows, signals)] == list(range(1, 31))


def test_one_signal_alone_orders_by_that_signal() -> None:
    rows = {row.id: row for row in reflections()}
    by_rouge = [rows[row["id"]].metrics["rouge_l"] for row in ranked(list(rows.values()), ["rouge_l"])]
    by_nll = [rows[row["id"]].nll for row in ranked(list(rows.values()), ["nll"])]
    lengths = {sample.id: len(sample.references[0]) for sample in samples()}
    by_length = [lengths[row["id"]] for row in ranked(list(rows.values()), ["length"])]
    assert by_rouge == sorted(by_rouge, reverse=True)
    assert by_nll == sorted(by_nll)
    assert by_length == sorted(by_length)


def test_a_random_order_is_its_seed_s_and_an_id_s_place_does_not_depend_on_the_others() -> None:
    rows = reflections()
    order = [row["id"] for row in ranked(rows, ["random"], seed=1)]
    assert order != [row["id"] for row in ranked(rows, ["random"], seed=2)]
    half = {row.id for row in rows[::2]}
    assert [row["id"] for row in ranked(rows[::2], ["random"], seed=1)] == [id for id in order if id in half]


def test_a_signal_that_is_not_a_number_is_named() -> None:
    with pytest.raises(UserError, match="nll of sample 0000000000000001 is not a number"):
        difficulties(["nll"], [], measured([Reflection("0" * 15 + "1", "", {"rouge_l": 0.5}, float("nan"), 1)]), 0)


def test_a_sample_that_one_source_lacks_is_named() -> None:
    few = {"reflections": reflected(reflections(29))}
    with pytest.raises(UserError, match=r"sample 000000000000001d is not in both samples and reflections \(1 such\)"):
        difficulties(["nll", "length"], samples(), few, 0)
    with pytest.raises(UserError, match=r"not in both reflections and teacher_scores \(1 such\)"):
        difficulties(["nll", "forward_kl"], [], {**measured(reflections()), **few}, 0)


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([["nll"]], {"nll": "student_scores"}),
        ([["rouge_l", "nll"]], {"rouge_l": "reflections", "nll": "reflections"}),
        ([["rouge_l"], ["nll"]], {"rouge_l": "reflections", "nll": "reflections"}),
        ([["nll", "student_entropy"]], {"nll": "student_scores", "student_entropy": "student_scores"}),
        ([["length"], ["random"]], {"length": "samples", "random": "samples"}),
        ([["rouge_l", "student_entropy"]], {"rouge_l": "reflections", "student_entropy": "student_scores"}),
        ([[name] for name in SCORED[1:]], dict.fromkeys(SCORED[1:], "teacher_scores")),
        ([["exact_match"]], {"exact_match": "exact_match_grades"}),
        ([["pass_rate", "nll"]], {"pass_rate": "verified_answers", "nll": "reflections"}),
        ([["rouge_l", *GRADED]], {"rouge_l": "reflections", **GRADED}),
        ([], {}),
    ],
)
def test_a_signal_comes_from_the_least_that_has_it(orders: list[list[str]], expected: dict[str, str]) -> None:
    assert sources(orders) == expected


def test_a_larger_score_is_harder_whatever_the_score() -> None:
    """Uncertain student, unsure teacher, far from the teacher, worse than the teacher: hard."""
    rows = reflections()
    for name in SCORED:
        order = [uniform(row["id"], name) for row in ranked(rows, [name])]
        assert order == sorted(order)
        assert len(set(order)) == 30


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order() -> None:
    values = {row.id: row.nll for row in reflections()}
    positives = {id for id, value in values.items() if value > 0.6 or id.endswith("3")}
    pairs = [
        (values[a] > values[b]) + 0.5 * (values[a] == values[b]) for a in positives for b in set(values) - positives
    ]
    assert roc_auc(np.array(list(values)), mean_ranks(np.array(list(values.values()))), positives) == pytest.approx(
        sum(pairs) / len(pairs)
    )
    assert 0.5 < sum(pairs) / len(pairs) < 1


@pytest.mark.parametrize(("keep", "expected"), [(0.75, 9), (0.5, 6), (1.0, 12), (0.7, 8)])
def test_filter_keeps_the_easiest_share(keep: float, expected: int) -> None:
    places = np.arange(12, 0, -1)
    kept = easiest({"id": places.astype(str), "rank": places}, keep)
    assert kept["rank"].tolist() == list(range(1, expected + 1))
    assert kept["id"].tolist() == [str(place) for place in range(1, expected + 1)]


@pytest.mark.parametrize(
    ("keep", "expected"), [(0.2, [11, 12]), (0.5, [7, 8, 9, 10, 11, 12]), (1.0, list(range(1, 13)))]
)
def test_the_other_end_is_the_hardest_share_easy_to_hard(keep: float, expected: list[int]) -> None:
    places = np.arange(12, 0, -1)
    kept = hardest({"id": places.astype(str), "rank": places}, keep)
    assert kept["rank"].tolist() == expected
    assert kept["id"].tolist() == [str(place) for place in expected]


@pytest.mark.parametrize("end", ENDS)
def test_filter_that_leaves_nothing_says_so(end: str) -> None:
    assert list(ENDS) == ["easiest", "hardest"]
    with pytest.raises(UserError, match="no samples left of 12"):
        ENDS[end]({"id": np.arange(12).astype(str), "rank": np.arange(12)}, 0.01)


def test_baby_step_is_cumulative_and_ends_with_all() -> None:
    ids = [str(i) for i in range(11)]
    phases = baby_step(ids, Curriculum(phases=3))
    assert [len(phase) for phase in phases] == [4, 8, 11]
    assert all(ids[: len(phase)] == phase for phase in phases)
    assert none(ids, Curriculum(phases=1)) == [ids]
    with pytest.raises(UserError, match=r"more phases than samples \(11\)"):
        baby_step(ids, Curriculum(phases=12))


def test_the_cumulative_sizes_of_the_official_code(shared: Path) -> None:
    golden = read_json(shared / "golden/ranking.json")
    ids = [str(id) for id in golden["easy_to_hard_ids"]]
    official = next(value for key, value in golden.items() if "size" in key)
    kept = ids[: 3 * (len(ids) // 4)]
    assert [len(phase) for phase in baby_step(kept, Curriculum(phases=3))] == official


@pytest.mark.parametrize("name", [name for name in CURRICULA if name != "none"])
@pytest.mark.parametrize("sizes", [None, [0.5, 0.3, 0.2]])
def test_every_curriculum_uses_every_sample_once_a_phase_at_most(name: str, sizes: list[float] | None) -> None:
    ids = [f"{i:02d}" for i in range(40)]
    phases = CURRICULA[name](ids, Curriculum(name, 3, sizes, seed=1))
    assert len(phases) == 3
    assert set().union(*phases) == set(ids)
    assert all(len(set(phase)) == len(phase) for phase in phases)
    assert phases == CURRICULA[name](list(ids), Curriculum(name, 3, sizes, seed=1))


def test_curricula_are_what_their_names_say() -> None:
    ids = [f"{i:02d}" for i in range(12)]
    one_pass, reverse, mixed = (
        CURRICULA[name](ids, Curriculum(name, 3, replay=0.5)) for name in ("one_pass", "reversed", "mixed")
    )
    assert one_pass == [ids[:4], ids[4:8], ids[8:]]
    assert CURRICULA["one_pass"](ids, Curriculum("one_pass", 3, [0.5, 0.25, 0.25])) == [ids[:6], ids[6:9], ids[9:]]
    assert reverse == [ids[:7:-1], ids[:3:-1], ids[::-1]]
    assert [len(phase) for phase in mixed] == [4, 2 + 4, 4 + 4]
    assert all(set(subset) <= set(phase) for subset, phase in zip(one_pass, mixed, strict=True))
    shuffled = CURRICULA["random_order"](ids, Curriculum("random_order", 3, seed=3))
    assert shuffled == CURRICULA["random_order"](ids[::-1], Curriculum("random_order", 3, seed=3)), (
        "free of the ranking"
    )
    assert shuffled[0] != ids[:4]


def test_three_phases_of_three_quarters_cost_sixty_percent_of_the_passes() -> None:
    count, epochs = 1200, 8
    phases = baby_step([str(i) for i in range(int(0.75 * count))], Curriculum(phases=3))
    assert epochs * sum(map(len, phases)) / (2.5 * epochs * count) == pytest.approx(0.6)


def test_srd_schedule_rises_in_temperature_and_falls_in_sft_weight() -> None:
    phases = [of_phase(0.5) for of_phase in schedule(phase_values(Schedule(), 3))]
    assert [phase.temperature for phase in phases] == [1.0, 1.5, 2.0]
    assert [phase.sft_weight for phase in phases] == pytest.approx([0.3, 0.2, 0.1])
    assert schedule(phase_values(Schedule(), 1))[0](1.0).temperature == 1.0


def test_each_setting_can_be_held_listed_or_moved_with_the_steps() -> None:
    rising, listed = Ramp(1.0, 2.0, by="step"), Ramp(0.3, 0.0, values=[0.3, 0.1, 0.2])
    phases = schedule(phase_values(Schedule(temperature=rising, sft_weight=listed), 3))
    assert [phases[0](share).temperature for share in (0, 0.25, 1)] == [1.0, 1.25, 2.0]
    assert [of_phase(0.7).sft_weight for of_phase in phases] == [0.3, 0.1, 0.2]
    held = schedule(phase_values(Schedule(temperature=Ramp(1.5, 2.0, by="constant")), 3))
    assert [of_phase(1.0).temperature for of_phase in held] == [1.5] * 3
    assert [of_phase(1.0).sft_weight for of_phase in held] == pytest.approx([0.3, 0.2, 0.1])
    first = schedule(phase_values(Schedule(sft_weight=Ramp(values=[0.2, 0.1, 0.0], by="constant")), 3))
    assert [of_phase(1.0).sft_weight for of_phase in first] == [0.2] * 3
    with pytest.raises(UserError, match="expected one value for each of 2 phases"):
        schedule(phase_values(Schedule(sft_weight=listed), 2))


@pytest.mark.parametrize(
    ("name", "temperatures", "sft_weights"),
    [
        ("srd", [1, 1.5, 2], [0.3, 0.2, 0.1]),
        ("srd_official_gpt2", [1, 1.5, 2], [0.2, 0.1, 0]),
        ("srd_official_openllama2", [1, 1.33, 1.67], [0.3, 0.2, 0.1]),
        ("pocl", [1, 1.33, 1.67, 2], [0.3, 0.2, 0.1, 0]),
        ("constant", [1, 1, 1], [0, 0, 0]),
    ],
)
def test_published_schedules_have_their_published_values(
    name: str, temperatures: list[float], sft_weights: list[float]
) -> None:
    cfg = config(f"schedule={name}", f"curriculum.phases={len(temperatures)}")
    phases = [of_phase(0.0) for of_phase in schedule(phase_values(cfg.schedule, cfg.num_phases))]
    assert [phase.temperature for phase in phases] == pytest.approx(temperatures)
    assert [phase.sft_weight for phase in phases] == pytest.approx(sft_weights)


def test_learning_rate_warms_up_peaks_and_ends_where_told() -> None:
    rates = [cosine(step, 100, 1e-3, 1e-7, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-7)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert cosine(0, 1, 1e-3, 1e-7, 0) == pytest.approx(1e-3)
