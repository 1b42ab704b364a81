"""The stage `likelihood` in a run: beside the answers where it is asked for, in their place where nothing is asked."""

from pathlib import Path

import pytest

from srd.cli import main
from tests.reading import manifest, read_json, read_jsonl
from tests.unit.test_windows import documents, plain_file

pytestmark = pytest.mark.slow

PLAIN = ["curriculum=none", "filter.keep=1", "engine.threads=1", "evaluate.targets=[student,distill]"]


@pytest.fixture
def begin(smoke: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [*smoke, *PLAIN]


def likelihoods(folder: Path) -> list[Path]:
    return sorted((folder / "outputs/likelihood").glob("*/likelihood.jsonl"))


def rows_of(folder: Path) -> dict[str, dict[str, object]]:
    assert main(["report", "smoke"]) == 0
    return {row["arm"]: row for row in read_json(folder / "outputs/report/smoke/report.json")["rows"]}


def test_a_run_reads_the_test_rows_where_it_is_asked_to(begin: list[str], tmp_path: Path) -> None:
    assert main(["run", *begin]) == 0
    assert not likelihoods(tmp_path)
    report = tmp_path / "outputs/report/smoke/report.md"
    assert all(row["likelihood"] is None for row in rows_of(tmp_path).values())
    assert "perplexity" not in report.read_text().lower()
    # The command by itself makes it too, and the report of the run that is filed knows it.
    assert main(["likelihood", *begin]) == 0
    found = rows_of(tmp_path)
    assert len(likelihoods(tmp_path)) == 2
    assert all(row["likelihood"]["perplexity"]["low"] > 1 for row in found.values())  # pyright: ignore
    ledger = manifest(tmp_path / "outputs" / found["fkl"]["fingerprints"][1])["ledger"]  # pyright: ignore
    assert found["fkl"]["likelihood"]["perplexity"]["mean"] == pytest.approx(ledger["likelihood"]["perplexity"])  # pyright: ignore
    assert found["fkl"]["likelihood"]["ece"]["mean"] == pytest.approx(100 * ledger["likelihood"]["ece"])  # pyright: ignore
    assert ledger["scored_tokens"] == ledger["likelihood"]["positions"]
    rows = read_jsonl(likelihoods(tmp_path)[0])
    assert len(rows) == 4
    assert all(sum(row["counts"]) == row["positions"] for row in rows)
    assert "| 95 % interval | ECE, % |" in report.read_text()
    before = {path: path.stat().st_mtime_ns for path in likelihoods(tmp_path)}
    assert main(["run", *begin, "evaluate.likelihood=true"]) == 0
    assert {path: path.stat().st_mtime_ns for path in likelihoods(tmp_path)} == before


def test_suites_of_text_are_read_beside_prompts_that_are_answered(
    begin: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plain_file(tmp_path / "pages.txt", documents(60))
    suites = f"++evaluate.suites={{heldout: null, pages: {{name: text, path: {path}, test_samples: 20}}}}"
    for method in ("fkl", "rkl"):
        assert main(["run", *begin, suites, f"method={method}", "versus=[fkl]"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("answers   evaluate/") == printed.count("positions   likelihood/") == 4
    assert main(["report", "smoke"]) == 0
    found = read_json(tmp_path / "outputs/report/smoke/report.json")["rows"]
    assert [(row["suite"], row["metric"]) for row in found] == 3 * [("heldout", "rouge_l"), ("pages", "perplexity")]
    compared = {row["suite"]: row["differences"] for row in found if row["arm"] == "rkl"}
    assert {suite: list(differences) for suite, differences in compared.items()} == {
        "heldout": ["fkl"],
        "pages": ["fkl"],
    }
    report = (tmp_path / "outputs/report/smoke/report.md").read_text()
    assert report.split("## Scores\n\n")[1].startswith("|  | suite | ROUGE-L | 95 % interval | n |")
    planned = read_json(next((tmp_path / "outputs/report/smoke/runs").glob("*.json")))["planned"]
    assert {"evaluate distill", "likelihood distill"} <= planned.keys()


def test_text_that_asks_nothing_is_headed_by_its_perplexity(
    begin: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plain_file(tmp_path / "pages.txt", documents(120))
    text = ["dataset=text", f"dataset.path={path}", "dataset.limit=null", "dataset.dev_samples=10"]
    text += ["dataset.test_samples=10", "dataset.tokens=1000", "distill.select_by=nll"]
    for method in ("fkl", "rkl"):
        assert main(["run", *begin, *text, f"method={method}", "versus=[fkl]"]) == 0
    printed = capsys.readouterr().out
    assert "perplexity" in printed
    assert "ROUGE-L" not in printed
    assert not (tmp_path / "outputs/evaluate").exists()
    found = rows_of(tmp_path)
    assert len(found) == 3
    assert {row["metric"] for row in found.values()} == {"perplexity"}
    assert list(found["rkl"]["differences"]) == ["fkl"]  # pyright: ignore
    table = (tmp_path / "outputs/report/smoke/report.md").read_text().split("## Scores\n\n")[1]
    assert table.startswith("|  | suite | perplexity | 95 % interval | n | NLL | ECE, % | 95 % interval | top-1, % |\n")
    planned = read_json(next((tmp_path / "outputs/report/smoke/runs").glob("*.json")))["planned"]
    assert "likelihood distill" in planned
    assert "evaluate distill" not in planned
