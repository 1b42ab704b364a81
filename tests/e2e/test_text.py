"""Plain text end to end: windows instead of prompts, no answer anywhere, the same bytes however it was made."""

from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.reading import manifest, read_jsonl
from tests.unit.test_windows import documents, plain_file

pytestmark = pytest.mark.slow

WORDS = ["dataset=text", "dataset.dev_samples=10", "dataset.test_samples=10", "dataset.tokens=2000", "engine=cpu"]


def scores(folder: Path, target: str) -> list[dict[str, object]]:
    found = [path for path in (folder / "outputs/evaluate").iterdir() if path.suffix != ".lock"]
    (one,) = [path for path in found if path.is_dir() and manifest(path)["settings"]["target"] == target]
    return read_jsonl(one / "scores.jsonl")


def test_a_tiny_pair_learns_from_windows_without_an_answer(cli: Cli, tmp_path: Path) -> None:
    path = plain_file(tmp_path / "pages.txt", documents(120))
    fast = ["model.teacher.finetune.epochs=2", "model.student.finetune.epochs=1", "model.vocabulary=300"]
    words = ["run", "model=tiny", *WORDS, f"dataset.path={path}", "distill.select_by=nll", *fast]
    done = cli(*words, cwd=tmp_path)
    assert done.stdout.count("windows   evaluate/") == 3
    stages = {path.name for path in (tmp_path / "outputs").iterdir()}
    assert {"windows", "cache", "distill", "evaluate"} <= stages
    assert not stages & {"reflect", "rank", "answers"}
    means = {}
    for target in ("teacher", "student", "distill"):
        rows = scores(tmp_path, target)
        assert all(row.keys() >= {"id", "nll", "prediction"} and row["prediction"] == "" for row in rows)
        means[target] = sum(float(str(row["nll"])) for row in rows) / len(rows)
    assert means["distill"] < means["student"]
    (distilled,) = [path for path in (tmp_path / "outputs/distill").iterdir() if path.is_dir()]
    best = manifest(distilled)["ledger"]["best"]
    dev = read_jsonl(distilled / "dev.jsonl")
    assert len(dev) == 2
    assert {tuple(row) for row in dev} == {("step", "phase", "epoch", "dev/loss_nats")}
    assert best["selected_by"] == "nll"
    assert best["nll"] == min(row["dev/loss_nats"] for row in dev)
    assert "nothing to do" in cli(*words, cwd=tmp_path).stderr
    report = cli("report", "default", cwd=tmp_path)
    assert "NLL" in report.stdout
    assert "dev NLL" in cli("show", "distill/", cwd=tmp_path).stdout
    assert cli("show", "windows/", cwd=tmp_path).stdout.count("train") >= 5
    assert "there already" in cli("plan", *words[1:], cwd=tmp_path).stdout


def test_online_two_processes_and_on_policy(cli: Cli, tmp_path: Path) -> None:
    path = plain_file(tmp_path / "pages.txt", documents(120))
    small = ["run", "debug=smoke", "dataset.limit=null", *WORDS, f"dataset.path={path}", "evaluate.targets=[distill]"]
    losses = {}
    for name, more in {
        "cached": [],
        "online": ["teacher.signal=online"],
        "two": ["engine.processes=2"],
        "written": ["method=on_policy_rkl", "method.student_data.prompt_tokens=12"],
        "scored": ["filter.by=student_entropy", "filter.end=hardest", "filter.keep=0.2"],
        "ordered": ["rank.signals=[length]", "filter.by=random", "filter.keep=0.5", "curriculum=baby_step"],
    }.items():
        (tmp_path / name).mkdir()
        cli(*small, *more, cwd=tmp_path / name)
        rows = scores(tmp_path / name, "distill")
        losses[name] = sum(float(str(row["nll"])) for row in rows) / len(rows)
    assert losses["online"] == pytest.approx(losses["cached"], rel=1e-4)
    assert losses["two"] == pytest.approx(losses["cached"], rel=1e-4)
    assert len({round(loss, 6) for loss in losses.values()}) >= 3


def test_prompts_may_be_chosen_by_their_loss_as_well(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    plain = ["curriculum=none", "filter.keep=1", "evaluate.targets=[distill]"]
    cli("run", *smoke, "distill.select_by=nll", *plain, cwd=tmp_path)
    (distilled,) = [path for path in (tmp_path / "outputs/distill").iterdir() if path.is_dir()]
    assert [sorted(row) for row in read_jsonl(distilled / "dev.jsonl")] == [["dev/loss_nats", "epoch", "phase", "step"]]
    assert "rouge_l" in scores(tmp_path, "distill")[0]
