"""Ranking and filtering by a scoring pass: nothing is answered, a family is read once, and either end may stay."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.e2e.test_resume import SLOWLY, assert_same, kill_when, progress
from tests.reading import manifest, read_jsonl

pytestmark = pytest.mark.slow

SIGNALS = {"student": ["nll", "student_entropy"], "teacher": ["teacher_nll", "forward_kl", "nll_ratio"]}
ROWS = 24


@pytest.fixture(scope="module")
def overrides(smoke: list[str]) -> list[str]:
    return [*smoke, f"dataset.limit={ROWS}", "dataset.test_samples=8", *SLOWLY, "engine.micro_batch_tokens=8"]


@pytest.fixture(scope="module")
def both(cli: Cli, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms: one filters by the student's entropy, the other by the distance of teacher and student."""
    folder = tmp_path_factory.mktemp("both")
    run = ["run", *overrides, "evaluate.targets=[distill]", "study=scores"]
    cli(*run, "rank.signals=[nll]", "filter.by=student_entropy", "filter.keep=0.2", "filter.end=hardest", cwd=folder)
    cli(*run, "rank.signals=[student_entropy,nll_ratio]", "filter.by=forward_kl", cwd=folder)
    return folder


def scored(outputs: Path) -> dict[str, Path]:
    """Folder of every scoring pass, by its family."""
    folders = [path.parent for path in outputs.glob("score/*/manifest.json")]
    return {manifest(folder)["settings"]["family"]: folder for folder in folders}


def by_id(path: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in read_jsonl(path)}


def test_two_arms_share_a_pass_each_and_write_no_answer(cli: Cli, both: Path) -> None:
    outputs = both / "outputs"
    assert len(list(outputs.glob("score/*/manifest.json"))) == 2
    assert not list(outputs.glob("reflect/*"))
    for family, folder in scored(outputs).items():
        rows, record = read_jsonl(folder / "signals.jsonl"), manifest(folder)
        assert [list(row) for row in rows] == [["id", *SIGNALS[family]]] * ROWS
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        assert "generated_tokens" not in record["ledger"]
        assert record["ledger"]["scoring_passes"] == ROWS * (1 if family == "student" else 2)
        assert ("teacher" in record["inputs"]) == (family == "teacher")
    distilled = list(outputs.glob("distill/*/manifest.json"))
    assert len(distilled) == 2
    cli("report", "scores", cwd=both)
    costs = (both / "outputs/report/scores/report.md").read_text()
    assert "of it score" in costs
    assert "keep 0.2 hardest" in costs
    assert "student_entropy" in cli("show", str(scored(outputs)["student"]), cwd=both).stdout


def test_each_end_of_the_order_is_kept_and_enters_easy_to_hard(cli: Cli, both: Path, overrides: list[str]) -> None:
    outputs, words = both / "outputs", ["rank.signals=[nll]", "filter.by=student_entropy"]
    entropy, kept = by_id(scored(outputs)["student"] / "signals.jsonl"), {}
    for end, keep in (("easiest", "0.8"), ("hardest", "0.2")):
        cli("filter", *overrides, *words, f"filter.end={end}", f"filter.keep={keep}", cwd=both)
        folders = [path.parent for path in outputs.glob("filter/*/manifest.json")]
        settings = {"keep": float(keep), **({"end": end} if end == "hardest" else {})}
        folder = next(each for each in folders if manifest(each)["settings"] == settings)
        rows = read_jsonl(folder / "selection.jsonl")
        kept[end] = [row["id"] for row in rows]
        assert kept[end] == sorted(kept[end], key=lambda id: entropy[id]["nll"]), "easy to hard by the ranking"
    unsure = sorted(entropy, key=lambda id: entropy[id]["student_entropy"])
    assert set(kept["easiest"]) == set(unsure[:19])
    assert set(kept["hardest"]) == set(unsure[-4:])


def test_the_student_alone_is_read_and_agrees_with_its_reflection(
    cli: Cli, overrides: list[str], tmp_path: Path
) -> None:
    for words in ("finetune role=student", "score"):
        cli(*words.split(), *overrides, "rank.signals=[nll]", cwd=tmp_path)
    outputs = tmp_path / "outputs"
    assert list(scored(outputs)) == ["student"]
    assert len(list(outputs.glob("finetune/*/manifest.json"))) == 1, "there is no teacher to be read"
    cli("reflect", *overrides, cwd=tmp_path)
    reflected = by_id(next(outputs.glob("reflect/*/reflections.jsonl")))
    scores = by_id(scored(outputs)["student"] / "signals.jsonl")
    assert scores.keys() == reflected.keys()
    assert len(scores) == ROWS
    for id, row in scores.items():
        assert row["nll"] == pytest.approx(reflected[id]["nll"], rel=1e-5)


def without_scores(both: Path, tmp_path: Path) -> Path:
    """All that the two arms have left, but for the scores."""
    outputs = tmp_path / "outputs"
    shutil.copytree(both / "outputs", outputs)
    shutil.rmtree(outputs / "score")
    return outputs


BOTH_FAMILIES = "rank.signals=[student_entropy,nll_ratio]"


def test_killed_and_continued_equals_straight(cli: Cli, overrides: list[str], both: Path, tmp_path: Path) -> None:
    outputs, words = without_scores(both, tmp_path), ["score", *overrides, BOTH_FAMILIES]
    for place in (1, 7):
        assert kill_when(lambda place=place: progress(outputs / "score") >= place, words, tmp_path)
    assert "continued" in cli(*words, cwd=tmp_path).stderr
    assert len(scored(outputs)) == 2
    assert_same(outputs, both / "outputs", "score")
    for family, folder in scored(outputs).items():
        assert (
            manifest(folder)["ledger"]["scored_tokens"]
            == manifest(scored(both / "outputs")[family])["ledger"]["scored_tokens"]
        )


def test_two_processes_read_as_one_whatever_their_batches(
    cli: Cli, overrides: list[str], both: Path, tmp_path: Path
) -> None:
    outputs = without_scores(both, tmp_path)
    wide = ["engine.micro_batch_tokens=64", "engine.loss_positions=5", "engine.processes=2"]
    cli("score", *overrides, BOTH_FAMILIES, *wide, cwd=tmp_path)
    assert len(scored(outputs)) == 2
    for family, folder in scored(outputs).items():
        straight = scored(both / "outputs")[family]
        ours, theirs = by_id(folder / "signals.jsonl"), by_id(straight / "signals.jsonl")
        assert list(ours) == list(theirs)
        assert len(ours) == ROWS
        for id, row in ours.items():
            for name in SIGNALS[family]:
                assert row[name] == pytest.approx(theirs[id][name], rel=1e-4, abs=1e-7), (id, name)
        ledger, expected = manifest(folder)["ledger"], manifest(straight)["ledger"]
        assert all(ledger[name] == expected[name] for name in ("scoring_passes", "scored_tokens", "flops"))
        assert manifest(folder)["engine"]["processes"] == 2


def test_what_leaves_nothing_or_scores_nothing_is_one_line_before_the_work(
    cli: Cli, smoke: list[str], tmp_path: Path
) -> None:
    said = cli("run", *smoke, "filter.keep=0.01", "filter.end=hardest", cwd=tmp_path, code=2).stderr
    assert "srd: filter.keep=0.01: no samples left of 8; raise it or use more data" in said
    assert not (tmp_path / "outputs/finetune").exists()
    said = cli("score", *smoke, cwd=tmp_path, code=2).stderr
    assert "read no scores; expected one of nll, student_entropy, teacher_nll, forward_kl, nll_ratio" in said
    said = cli("score", *smoke, "filter.by=student_entropi", cwd=tmp_path, code=2).stderr
    assert "did you mean 'student_entropy'" in said
    said = cli("run", *smoke, "filter.end=middle", cwd=tmp_path, code=2).stderr
    assert said.strip().splitlines()[-1] == "srd: filter.end=middle: expected easiest or hardest"
    said = cli("run", *smoke, "filter.keep=1", "filter.end=hardest", cwd=tmp_path, code=2).stderr
    assert (
        said.strip().splitlines()[-1]
        == "srd: filter.end=hardest does nothing with filter.keep=1 filter.by=rank; drop it"
    )
    said = cli("rank", *smoke, "rank.signals=[nll]", cwd=tmp_path, code=2).stderr
    assert "not there yet; run `srd score`" in said
