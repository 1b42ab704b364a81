"""Plain text end to end: windows instead of prompts, no answer anywhere, the same bytes however it was made."""

import math
from pathlib import Path

import pytest

from srd.cli import main
from tests.conftest import Cli
from tests.reading import manifest, read_json, read_jsonl
from tests.unit.test_windows import documents, plain_file

pytestmark = pytest.mark.slow

WORDS = ["dataset=text", "dataset.dev_samples=10", "dataset.test_samples=10", "dataset.tokens=2000", "engine=cpu"]
FILES = {"evaluate": "scores.jsonl", "likelihood": "likelihood.jsonl"}


def scores(folder: Path, target: str, stage: str = "likelihood") -> list[dict[str, object]]:
    """Rows of what scores a target: answers, or likelihoods."""
    found = [path for path in (folder / "outputs").glob(f"{stage}/*") if path.is_dir()]
    (one,) = [path for path in found if manifest(path)["settings"]["target"] == target]
    return read_jsonl(one / FILES[stage])


def loss(folder: Path, target: str) -> float:
    """Nats a token of the test windows."""
    rows = scores(folder, target)
    return sum(float(str(row["nll"])) for row in rows) / sum(int(str(row["positions"])) for row in rows)


def test_a_tiny_pair_learns_from_windows_without_an_answer(cli: Cli, tmp_path: Path) -> None:
    path = plain_file(tmp_path / "pages.txt", documents(120))
    fast = ["model.teacher.finetune.epochs=2", "model.student.finetune.epochs=1", "model.vocabulary=300"]
    words = ["run", "model=tiny", *WORDS, f"dataset.path={path}", "distill.select_by=nll", *fast]
    done = cli(*words, cwd=tmp_path)
    assert done.stdout.count("positions   likelihood/") == 3
    stages = {path.name for path in (tmp_path / "outputs").iterdir()}
    assert {"windows", "cache", "distill", "likelihood"} <= stages
    assert not stages & {"reflect", "rank", "answers", "evaluate"}
    losses = {target: loss(tmp_path, target) for target in ("teacher", "student", "distill")}
    assert losses["distill"] < losses["student"]
    (distilled,) = [path for path in (tmp_path / "outputs/distill").iterdir() if path.is_dir()]
    best = manifest(distilled)["ledger"]["best"]
    dev = read_jsonl(distilled / "dev.jsonl")
    assert len(dev) == 2
    assert {tuple(row) for row in dev} == {("step", "phase", "epoch", "dev/loss_nats")}
    assert best["selected_by"] == "nll"
    assert best["nll"] == min(row["dev/loss_nats"] for row in dev)
    assert "nothing to do" in cli(*words, cwd=tmp_path).stderr
    assert "perplexity" in cli("report", "default", cwd=tmp_path).stdout
    found = read_json(tmp_path / "outputs/report/default/report.json")["rows"]
    assert {row["target"]: row["score"]["mean"] for row in found} == pytest.approx(
        {target: math.exp(value) for target, value in losses.items()}
    )
    assert "dev NLL" in cli("show", "distill/", cwd=tmp_path).stdout
    assert cli("show", "windows/", cwd=tmp_path).stdout.count("train") >= 5
    assert "there already" in cli("plan", *words[1:], cwd=tmp_path).stdout


def test_online_on_policy_and_chosen_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain_file(tmp_path / "pages.txt", documents(120))
    small = ["run", "debug=smoke", "dataset.limit=null", *WORDS, f"dataset.path={path}", "evaluate.targets=[distill]"]
    losses = {}
    for name, more in {
        "cached": [],
        "online": ["teacher.signal=online"],
        "written": ["method=on_policy_rkl", "method.student_data.prompt_tokens=12"],
        "scored": ["filter.by=student_entropy", "filter.end=hardest", "filter.keep=0.2"],
        "ordered": ["rank.signals=[length]", "filter.by=random", "filter.keep=0.5", "curriculum=baby_step"],
    }.items():
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)  # without another start of Python
        assert main([*small, *more]) == 0
        losses[name] = loss(tmp_path / name, "distill")
    assert losses["online"] == pytest.approx(losses["cached"], rel=1e-4)
    assert all(losses[name] != pytest.approx(losses["cached"], rel=1e-6) for name in ("written", "scored", "ordered"))


def test_prompts_may_be_chosen_by_their_loss_as_well(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    plain = ["curriculum=none", "filter.keep=1", "evaluate.targets=[distill]"]
    cli("run", *smoke, "distill.select_by=nll", *plain, cwd=tmp_path)
    (distilled,) = [path for path in (tmp_path / "outputs/distill").iterdir() if path.is_dir()]
    assert [sorted(row) for row in read_jsonl(distilled / "dev.jsonl")] == [["dev/loss_nats", "epoch", "phase", "step"]]
    assert "rouge_l" in scores(tmp_path, "distill", "evaluate")[0]
    assert "NLL" in cli("report", "smoke", cwd=tmp_path).stdout
