"""Several answers to a prompt: who shares them, what they are graded by, and the weights that a pass rate gives."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srd.config import Code, Engine
from srd.errors import UserError
from srd.metrics import METRICS
from srd.pipeline import graph
from srd.pipeline.commanded import commanded
from srd.pipeline.settings import answer_seeds
from srd.selection.ranking import PASS_RATE, REFLECTION_METRICS, SIGNALS, rank
from srd.selection.weights import WEIGHTS, paced, scaled
from srd.stages import filter as filtering
from srd.stages import grade, partition
from srd.stages import rank as ranking
from srd.stages.grade import graded
from srd.store.artefacts import Node, Work, closure
from srd.store.rows import Grade, Phase, Reflection, dump, read_rows, write_rows
from tests.composing import config
from tests.reading import read_jsonl, write_jsonl

SMALL = ["debug=smoke", "dataset=pydoc"]
SAMPLED = ["reflect.answers=4", "reflect.generation.temperature=1"]
VERIFIED = [*SAMPLED, "rank.verifier=exact_match"]


def stages(*overrides: str) -> dict[str, set[str]]:
    """Fingerprints of every stage on the way to the distilled student."""
    found: dict[str, set[str]] = {}
    for node in closure([graph.distill(config(*SMALL, *overrides))]):
        found.setdefault(node.stage, set()).add(node.fingerprint)
    return found


def test_every_metric_of_an_answer_is_a_signal_and_the_pass_rate_besides() -> None:
    of_answers = {name for name, signal in SIGNALS.items() if signal.is_of_answers}
    assert of_answers == {*METRICS, PASS_RATE}
    assert set(REFLECTION_METRICS) == {"rouge_l"}, (
        "what every reflection has had so far: more would make all of them anew"
    )
    assert len(WEIGHTS) == 1
    assert [name for name, metric in METRICS.items() if metric.is_binary] == [
        "exact_match",
        "code_passes",
        "math_exact",
    ]


def test_arms_of_other_signals_share_the_answers_and_equal_grades() -> None:
    arms = [
        stages(*SAMPLED),
        stages(*SAMPLED, "rank.signals=[exact_match,nll]"),
        stages(*VERIFIED, "rank.signals=[pass_rate,nll]"),
        stages(*VERIFIED, "filter.weights=paced"),
    ]
    assert len(set.union(*(arm["reflect"] for arm in arms))) == 1
    grades = [arm.get("grade", set()) for arm in arms]
    assert [len(each) for each in grades] == [0, 1, 1, 1]
    assert grades[1] == grades[2] == grades[3]
    assert len(set.union(*(arm["distill"] for arm in arms))) == 4


def test_the_number_of_answers_is_in_the_reflection_s_fingerprint_and_one_is_what_it_was() -> None:
    sampled = ["reflect.generation.temperature=1"]
    assert stages() == stages("reflect.answers=1")
    assert stages(*sampled) == stages(*sampled, "reflect.answers=1")
    assert stages(*sampled)["reflect"] != stages(*SAMPLED)["reflect"]
    assert stages(*SAMPLED)["reflect"] != stages("reflect.answers=5", *SAMPLED[1:])["reflect"]


def test_the_first_answers_keep_their_seeds_however_many_there_are() -> None:
    few, many = (answer_seeds(config(*SAMPLED[1:], f"reflect.answers={count}").reflect) for count in (3, 9))
    assert many[:3] == few
    assert few[0] == 10
    assert len(set(many)) == 9
    other = answer_seeds(config(*SAMPLED, "reflect.seed=11").reflect)
    assert not set(other) & set(many)


def test_weights_alone_make_no_other_order_than_their_own() -> None:
    cfg = config(*SMALL, *VERIFIED, "filter.weights=paced", "filter.keep=1", "curriculum=none")
    nodes = closure([graph.distill(cfg)])
    assert [node.settings["signals"] for node in nodes if node.stage == "rank"] == [[PASS_RATE]]
    assert not [node for node in nodes if node.stage == "score"]
    assert [node.stage for node in commanded("rank", cfg)] == ["rank"]
    assert [node.settings for node in commanded("grade", cfg)] == [{"metric": "exact_match"}]
    assert cfg.is_curated
    assert cfg.arm_name == "fkl+none-1, keep 1, paced"


def test_weights_are_in_the_settings_of_who_reads_them() -> None:
    cfg = config(*SMALL, *VERIFIED, "filter.weights=paced", "filter.weight_powers=[2,1]")
    assert graph.filter(cfg).settings == {"keep": 0.75, "weights": "paced", "weight_powers": [2.0, 1.0]}
    assert graph.partition(cfg).settings["weighted"] is True
    assert "weighted" not in graph.partition(config(*SMALL)).settings
    sparse = config(
        *SMALL, *VERIFIED, "filter.weights=paced", "filter.keep=1", "teacher.signal=sampled", "schedule=constant"
    )
    assert "selection" in graph.cache(sparse).inputs


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["reflect.answers=4"], "greedy answers are all the same; set reflect.generation.temperature=1"),
        (["reflect.answers=0"], "reflect.answers=0: expected a whole number"),
        (["rank.signals=[pass_rate]"], "rank.verifier=null: pass_rate needs the metric that says whether"),
        (["filter.by=pass_rate"], "expected one of exact_match"),
        ([*SAMPLED, "filter.weights=paced"], "rank.verifier=null"),
        (["rank.verifier=rouge_l"], "unknown rank.verifier 'rouge_l'"),
        ([*VERIFIED, "filter.weights=pased"], "did you mean 'paced'"),
        (["rank.verifier=exact_match", "filter.weights=paced"], "reflect.answers=1: expected 2 or more"),
        ([*VERIFIED, "filter.weights=paced", "filter.weight_powers=[1]"], "powers=[1.0]: expected two powers"),
        ([*VERIFIED, "filter.weights=paced", "filter.weight_powers=[0,1]"], "expected two powers above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        config(*SMALL, *overrides)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_windows_of_text_have_no_pass_rate() -> None:
    with pytest.raises(UserError, match="pass_rate comes of answers to prompts, and dataset=text has windows of text"):
        config("dataset=text", "dataset.path=x", "distill.select_by=nll", *VERIFIED, "filter.weights=paced")


def test_paced_weights_are_the_beta_kernel_by_hand() -> None:
    rates = np.array([0, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1])
    assert paced(rates, [1.0, 1.0]).tolist() == [0, 7 / 64, 3 / 16, 1 / 4, 3 / 16, 0]
    assert paced(rates, [2.0, 1.0]).tolist() == [0, 7 / 512, 3 / 64, 1 / 8, 9 / 64, 0]


@pytest.mark.parametrize("count", [1, 3, 7, 10, 49, 1000])
def test_scaled_weights_have_the_mean_one_and_equal_ones_are_exactly_one(count: int) -> None:
    for value in (0.1, 0.1875, 1 / 3, 1e-9):
        assert set(scaled(np.full(count, value)).tolist()) == {1.0}
    drawn = np.random.default_rng(1).uniform(0.01, 1, count)
    assert scaled(drawn).mean() == pytest.approx(1, abs=1e-12)
    assert scaled(drawn) == pytest.approx(drawn / drawn.mean())


RIGHT = "def add(a, b):\n    return a + b"
RATES = [0.0, 0.25, 0.5, 1.0, 0.5, 0.75, 0.0, 0.25]


def made(folder: Path, stage: Any, settings: dict[str, Any], inputs: dict[str, Path]) -> Work[Any, Any]:
    """A stage done in a folder, as the maker does it."""
    folder.mkdir(exist_ok=True)
    work = Work(Node(stage.__name__.rpartition(".")[2], 1, settings), folder, inputs, Engine(), kind=stage.Settings)
    stage.make(work)
    return work


def ids(count: int) -> list[str]:
    return [f"{i:016x}" for i in range(count)]


def answered(tmp_path: Path, rates: list[float], answers: int = 4) -> dict[str, Path]:
    """Samples, and a reflection in which each has so many of its answers right."""
    samples, reflections = [], []
    for id, rate in zip(ids(len(rates)), rates, strict=True):
        samples.append({"id": id, "instruction": "a", "input": "", "output": "yes", "split": "train"})
        texts = ["Yes." if i < rate * answers else "no" for i in range(answers)]
        reflections.append(Reflection(id, texts[0], {"rouge_l": rate}, 1.0, 3, texts[1:], {"rouge_l": [0.0] * answers}))
    write_jsonl(tmp_path / "samples/samples.jsonl", samples)
    (tmp_path / "reflections").mkdir()
    write_rows(tmp_path / "reflections/reflections.jsonl", reflections)
    return {name: tmp_path / name for name in ("samples", "reflections")}


@pytest.fixture
def grades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What exact match says of answers that are right with `RATES`; its ledger is where rank looks for it."""
    work = made(tmp_path / "grades", grade, {"metric": "exact_match"}, answered(tmp_path, RATES))
    monkeypatch.setattr(ranking, "read_manifest", lambda folder: {"ledger": work.ledger})
    assert work.ledger["graded_answers"] == 4 * len(RATES)
    return work.path


def test_a_grade_is_the_share_of_right_answers(grades: Path) -> None:
    rows = read_rows(grades / "grades.jsonl", Grade)
    assert [row.id for row in rows] == ids(8)
    assert [row.mean for row in rows] == RATES
    assert [sum(row.by_answer) / 4 for row in rows] == RATES
    assert all(len(row.by_answer) == 4 for row in rows)


def test_a_verifier_that_executes_judges_every_answer(tmp_path: Path, code: Code) -> None:
    sample = {"id": ids(1)[0], "instruction": "Add.", "input": "", "output": RIGHT, "split": "train"}
    write_jsonl(tmp_path / "samples/samples.jsonl", [sample | {"tests": ["assert add(1, 2) == 3"]}])
    (tmp_path / "reflections").mkdir()
    answers = ["def add(a, b):\n    return a - b", RIGHT, "none", RIGHT]
    row = Reflection(ids(1)[0], answers[0], {"rouge_l": 0.0}, 1.0, 3, answers[1:], {"rouge_l": [0.0] * 4})
    write_rows(tmp_path / "reflections/reflections.jsonl", [row])
    inputs = {name: tmp_path / name for name in ("samples", "reflections")}
    made(tmp_path / "grades", grade, {"metric": "code_passes", "code": asdict(code)}, inputs)
    assert read_rows(tmp_path / "grades/grades.jsonl", Grade) == [Grade(ids(1)[0], 0.5, [0.0, 1.0, 0.0, 1.0])]


def test_a_mean_does_not_depend_on_the_order_of_the_answers() -> None:
    """Else two samples of the same scores would not share a rank."""
    values = [0.1, 0.7, 0.2, 0.3, 1 / 3, 0.6]
    assert len({graded("a", list(np.roll(values, turn))).mean for turn in range(6)}) == 1


def test_equal_pass_rates_share_their_mean_rank_and_the_id_orders_them(grades: Path, tmp_path: Path) -> None:
    made(tmp_path / "rank", ranking, {"signals": [PASS_RATE], "rrf_k": 60.0}, {"verified_answers": grades})
    rows = read_jsonl(tmp_path / "rank/ranking.jsonl")
    ranks = {row["id"]: row["pass_rate_rank"] for row in rows}
    assert [ranks[id] for id in ids(8)] == [7.5, 5.5, 3.5, 1.0, 3.5, 2.0, 7.5, 5.5]
    assert [int(row["id"], 16) for row in rows] == [3, 5, 2, 4, 1, 7, 0, 6]


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_pass_rate_that_tells_nothing_apart_is_said_and_alone_it_is_refused(
    tmp_path: Path, rate: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = answered(tmp_path, [rate] * 5)
    work = made(tmp_path / "grades", grade, {"metric": "exact_match"}, inputs)
    monkeypatch.setattr(ranking, "read_manifest", lambda folder: {"ledger": work.ledger})
    with pytest.raises(UserError, match=rf"pass_rate is {rate:g} for all 5 samples; expected a signal that can tell"):
        made(tmp_path / "alone", ranking, {"signals": [PASS_RATE], "rrf_k": 60.0}, {"verified_answers": work.path})
    both = {"verified_answers": work.path, "samples": inputs["samples"]}
    made(tmp_path / "both", ranking, {"signals": [PASS_RATE, "length"], "rrf_k": 60.0}, both)
    assert f"rank: pass_rate is {rate:g} for all 5 samples; length alone orders" in capsys.readouterr().err


def filtered(tmp_path: Path, rates: list[float], keep: float = 1.0) -> tuple[Work[Any, Any], list[dict[str, Any]]]:
    """The selection of samples in the order of their numbers, weighed by these pass rates."""
    write_rows(
        tmp_path / "grades.jsonl", [Grade(id, rate, [rate]) for id, rate in zip(ids(len(rates)), rates, strict=True)]
    )
    order = [{"id": id, "rank": number} for number, id in enumerate(ids(len(rates)), start=1)]
    write_jsonl(tmp_path / "ranking/ranking.jsonl", order)
    inputs = {"ranking": tmp_path / "ranking", "verified_answers": tmp_path}
    settings = {"keep": keep, "weights": "paced", "weight_powers": [1.0, 1.0]}
    return made(tmp_path / "kept", filtering, settings, inputs), read_jsonl(tmp_path / "kept/selection.jsonl")


def test_the_filter_weighs_who_stays_and_drops_who_weighs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, rows = filtered(tmp_path, RATES, keep=0.75)
    assert [row["rank"] for row in rows] == [2, 3, 5, 6], "λ first: the sixth is the last that may stay"
    raw = np.array([3 / 16, 1 / 4, 1 / 4, 3 / 16])
    assert [row["weight"] for row in rows] == pytest.approx((raw / raw.mean()).tolist())
    assert work.ledger["dropped_without_weight"] == 2
    said = capsys.readouterr().err
    assert (
        "answers 1 of 6 prompts always and 1 never as the verifier wants it; they weigh nothing and are dropped, 4 stay"
        in said
    )


def test_nothing_that_weighs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"filter.weights=paced: the student answers 1 of 3 prompts always and 2 never"):
        filtered(tmp_path, [0.0, 1.0, 0.0])


def test_phases_carry_the_weights_by_id(tmp_path: Path) -> None:
    _, rows = filtered(tmp_path, RATES)
    weights = {row["id"]: row["weight"] for row in rows}
    settings = {"curriculum": "baby_step", "phases": 2, "weighted": True}
    made(tmp_path / "phases", partition, settings, {"selection": tmp_path / "kept"})
    phases = read_rows(tmp_path / "phases/phases.jsonl", Phase)
    assert [len(phase.ids) for phase in phases] == [3, 5]
    for phase in phases:
        assert phase.weights == [weights[id] for id in phase.ids]
    made(tmp_path / "plain", partition, {"curriculum": "none", "phases": 1}, {"selection": tmp_path / "kept"})
    assert read_jsonl(tmp_path / "plain/phases.jsonl") == [{"phase": 0, "ids": [row["id"] for row in rows]}]


def test_one_answer_is_written_as_it_always_was(tmp_path: Path) -> None:
    one = Reflection("a", "yes", {"rouge_l": 1.0}, 0.5, 3)
    assert dump(one) == '{"id": "a", "response": "yes", "rouge_l": 1.0, "nll": 0.5, "tokens": 3}\n'
    several = Reflection("b", "yes", {"rouge_l": 0.5}, 0.5, 6, ["no"], {"rouge_l": [1.0, 0.0]})
    write_rows(tmp_path / "rows.jsonl", [one, several])
    assert read_rows(tmp_path / "rows.jsonl", Reflection) == [one, several]
    assert [one.answers, several.answers] == [["yes"], ["yes", "no"]]


def test_a_fusion_with_ties_is_the_one_by_hand() -> None:
    values = {"id": np.array(["a", "b", "c"]), PASS_RATE: np.array([-0.5, -0.5, 0.0]), "nll": np.array([2.0, 1.0, 3.0])}
    found = rank(values, 60.0)
    assert found["id"].tolist() == ["b", "a", "c"]
    assert found["fused"].tolist() == pytest.approx([1 / 61.5 + 1 / 61, 1 / 61.5 + 1 / 62, 1 / 63 + 1 / 63])
