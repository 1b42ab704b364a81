"""A student that answers every prompt several times: graded, ranked and weighed by its pass rate, end to end."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.e2e.test_resume import assert_same, kill_when, progress
from tests.reading import manifest, read_jsonl, write_jsonl

pytestmark = pytest.mark.slow

ROWS, ANSWERS = 24, 4
SLOWLY_ANSWERED = ["engine.generation_sequences=1"]
"""A block of answers is those to one prompt."""
GRADED = ["rank.signals=[pass_rate,nll]", "rank.verifier=exact_match"]


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Prompts whose answer is one of two words, and a student that has learned the words and not which."""
    rows = [{"instruction": f"Name colour {i}", "output": ("red", "blue")[(7 * i + i // 3) % 2]} for i in range(60)]
    data = write_jsonl(tmp_path_factory.mktemp("colours") / "rows.jsonl", rows)
    student = [f"model.student.finetune.{word}" for word in ("epochs=14", "learning_rate=1e-2")]
    sampled = ["reflect.generation.temperature=1", "curriculum.phases=2", "evaluate.targets=[distill]"]
    where = ["dataset=jsonl", f"dataset.path={data}", f"dataset.limit={ROWS}", "engine=cpu"]
    return ["debug=smoke", *where, *student, *sampled]


@pytest.fixture(scope="module")
def weighed(cli: Cli, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weighed")
    answers = f"reflect.answers={ANSWERS}"
    cli("run", *overrides, *GRADED, answers, "filter.weights=paced", *SLOWLY_ANSWERED, cwd=folder)
    return folder


def rows_of(folder: Path, stage: str, file: str) -> list[dict[str, Any]]:
    """Of the one artefact of a stage."""
    (path,) = (folder / "outputs" / stage).glob(f"*/{file}")
    return read_jsonl(path)


def test_the_answers_are_graded_ranked_and_weighed(weighed: Path) -> None:
    reflections = {row["id"]: row for row in rows_of(weighed, "reflect", "reflections.jsonl")}
    grades = {row["id"]: row for row in rows_of(weighed, "grade", "grades.jsonl")}
    assert len(reflections) == len(grades) == ROWS
    for id, row in reflections.items():
        assert len(row["others"]) == ANSWERS - 1
        assert row["rouge_l"] == pytest.approx(sum(row["by_answer"]["rouge_l"]) / ANSWERS)
        assert grades[id]["mean"] == sum(grades[id]["by_answer"]) / ANSWERS
    assert len({row["mean"] for row in grades.values()}) > 2, "the student must be neither sure nor lost"
    ranking = rows_of(weighed, "rank", "ranking.jsonl")
    by_rate = sorted(ranking, key=lambda row: row["pass_rate_rank"])
    rates = [grades[row["id"]]["mean"] for row in by_rate]
    assert rates == sorted(rates, reverse=True)
    weights = {row["id"]: row["weight"] for row in rows_of(weighed, "filter", "selection.jsonl")}
    raw = {id: grades[id]["mean"] * (1 - grades[id]["mean"]) for id in weights}
    mean = sum(raw.values()) / len(raw)
    assert weights == pytest.approx({id: value / mean for id, value in raw.items()})
    kept = [row["id"] for row in ranking[: int(0.75 * ROWS)]]
    assert list(weights) == [id for id in kept if 0 < grades[id]["mean"] < 1]
    *_, last = rows_of(weighed, "partition", "phases.jsonl")
    assert dict(zip(last["ids"], last["weights"], strict=True)) == weights
    (distilled,) = (weighed / "outputs/distill").glob("*/manifest.json")
    passes = sum(len(phase["ids"]) for phase in rows_of(weighed, "partition", "phases.jsonl"))
    assert manifest(distilled.parent)["ledger"]["sample_passes"] == passes


def test_fewer_answers_are_the_first_of_more_whatever_the_engine(
    cli: Cli, overrides: list[str], weighed: Path, tmp_path: Path
) -> None:
    more = {row["id"]: row for row in rows_of(weighed, "reflect", "reflections.jsonl")}
    for count in (1, 2):
        folder = tmp_path / str(count)
        shutil.copytree(weighed / "outputs", folder / "outputs", ignore=shutil.ignore_patterns("reflect"))
        cli("reflect", *overrides, f"reflect.answers={count}", cwd=folder)
        for row in rows_of(folder, "reflect", "reflections.jsonl"):
            whole = more[row["id"]]
            assert [row["response"], *row.get("others", [])] == [whole["response"], *whole["others"]][:count]
            assert row["nll"] == pytest.approx(whole["nll"], rel=1e-5)
            assert ("by_answer" in row) == (count > 1)


def test_killed_and_continued_equals_straight(cli: Cli, overrides: list[str], weighed: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(weighed / "outputs", outputs, ignore=shutil.ignore_patterns("reflect", "grade"))
    words = [*overrides, *GRADED, f"reflect.answers={ANSWERS}", *SLOWLY_ANSWERED]
    assert kill_when(lambda: progress(outputs / "reflect") >= 7, ["reflect", *words], tmp_path)
    cli("reflect", *words, cwd=tmp_path)
    assert_same(outputs, weighed / "outputs", "reflect")


def test_another_signal_grades_the_same_answers_and_all_is_shown(cli: Cli, overrides: list[str], weighed: Path) -> None:
    answers = f"reflect.answers={ANSWERS}"
    cli("run", *overrides, answers, "rank.signals=[exact_match,rouge_l]", "arm=other", cwd=weighed)
    assert len(list(weighed.glob("outputs/reflect/*/manifest.json"))) == 1
    assert len(list(weighed.glob("outputs/grade/*/manifest.json"))) == 1
    for stage in ("reflect", "grade"):
        (made,) = weighed.glob(f"outputs/{stage}/*/manifest.json")
        shown = cli("show", str(made.parent), cwd=weighed).stdout
        assert "pass rate" in shown
        assert ("4 answers to every prompt" in shown) == (stage == "reflect")
    for made in weighed.glob("outputs/rank/*/manifest.json"):
        shown = cli("show", str(made.parent), cwd=weighed).stdout
        assert "pass rate" in shown
        assert "the student's" in shown
    cli("report", "smoke", cwd=weighed)
    page = (weighed / "outputs/report/smoke/report.html").read_text()
    assert '"columns":["ROUGE-L","NLL","pass rate (EM)"]' in page
    assert "fkl+baby_step-2, keep 0.75, paced" in (weighed / "outputs/report/smoke/report.md").read_text()
