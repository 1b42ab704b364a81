"""An arm of every task with the tiny pair on a handful of real samples, from answers to the report."""

from pathlib import Path

import pytest

from srd.cli import main
from srd.report.scores import results_of
from srd.report.study import read_study
from tests.conftest import SHARED
from tests.reading import read_jsonl

pytestmark = pytest.mark.slow  # three small runs

TASKS = {
    "xsum": ("scitldr", "ROUGE-L", ["ROUGE-1", "ROUGE-2", "ROUGE-Lsum"]),
    "iwslt2017": ("tatoeba_en_de", "BLEU", ["chrF"]),
    "gsm8k": ("gsm8k", "maths", ["ROUGE-L", "pass@1 by math_exact", "pass@2 by math_exact"]),
}
SMALL = [
    "dataset.limit=60", "dataset.dev_samples=8", "dataset.test_samples=10", "distill.dev_samples=4", "distill.epochs=1",
    "model.teacher.finetune.epochs=1", "model.student.finetune.epochs=1", "generation.max_new_tokens=8",
    "reflect.generation.temperature=1", "engine=cpu",
]  # fmt: skip
SAMPLED = ["evaluate.generation.temperature=1", "evaluate.seeds=[1,2]", "evaluate.pass_at=[1,2]"]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_runs_from_answers_to_the_report(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, headline, others = TASKS[task]
    if not (SHARED / "data" / data).is_dir():
        pytest.skip(f"{SHARED / 'data' / data} is not here")
    monkeypatch.chdir(tmp_path)
    words = [f"experiment=[{task}/srd,{task}/small]", f"dataset.path={SHARED / 'data' / data}", *SMALL]
    words += SAMPLED if task == "gsm8k" else []
    assert main(["run", *words]) == 0, capsys.readouterr().err
    assert main(["report", f"{task}-small"]) == 0
    report = (tmp_path / f"outputs/report/{task}-small/report.md").read_text()
    assert f"| suite | {headline} | 95 % interval |" in report
    assert all(f"| {other} |" in report for other in others)
    assert ("sacrebleu's signature: chrf|" in report) == (task == "iwslt2017")
    rows = results_of(read_study(Path("outputs"), f"{task}-small"))
    assert [row.target for row in rows] == ["teacher", "student", "distill"]
    if task == "iwslt2017":
        from sacrebleu.metrics.bleu import BLEU

        scored = read_jsonl(Path("outputs") / rows[-1].fingerprints[0] / "scores.jsonl")
        samples = {row["id"]: row for row in read_jsonl(next(Path("outputs/samples").iterdir()) / "samples.jsonl")}
        answers = [row["prediction"] for row in scored]
        expected = BLEU().corpus_score(answers, [[samples[row["id"]]["output"] for row in scored]]).score
        assert rows[-1].score.mean == pytest.approx(expected, abs=1e-9)
        assert rows[-1].metrics["bleu"] == pytest.approx(expected, abs=1e-9)
