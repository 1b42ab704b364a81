"""`srd harness`: a stand-in that writes what lm-eval 0.4 writes is asked in its place; what it says is kept, and every
way in which it fails is one line."""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from srd.cli import main
from srd.stages.harness import rows_of
from tests.conftest import Cli
from tests.e2e.test_resume import kill_when
from tests.reading import manifest, read_json, read_jsonl

pytestmark = pytest.mark.slow

STAND_IN = '''#!PYTHON
"""The command line and the files of lm-eval 0.4.13; its answers follow from the checkpoint's size alone."""
import argparse, json, os, pathlib, sys, time

assert "PYTHONPATH" not in os.environ, "the packages of another environment"
parser = argparse.ArgumentParser()
for name in "model model_args tasks output_path batch_size device include_path num_fewshot limit".split():
    parser.add_argument(f"--{name}")
parser.add_argument("--apply_chat_template", action="store_true")
given = parser.parse_args()
model, tasks = json.loads(given.model_args), given.tasks.split(",")
folder = pathlib.Path(model["pretrained"])
assert (folder / "config.json").is_file() and (folder / "tokenizer.json").is_file(), folder
assert not (folder / "adapter_config.json").exists()
known = {"one", "two", "sleeps", "fails", "silent", "empty", "broken"}
known |= {path.stem for path in pathlib.Path(given.include_path).glob("*.yaml")} if given.include_path else set()
print("INFO  loading", end="\\r", flush=True)
missing = [task for task in tasks if task not in known]
if missing:
    raise ValueError(f"Tasks not found: {', '.join(missing)}")
if "fails" in tasks:
    print("OSError: the data set cannot be had", file=sys.stderr)
    print("and then some", file=sys.stderr)
    sys.exit(3)
if "sleeps" in tasks:
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(100)
if "silent" in tasks:
    sys.exit(0)
value = (folder / "model.safetensors").stat().st_size % 97 / 97
count = int(given.limit or 12)
results = {
    task: {"name": task, "alias": task, "sample_len": count, "acc,none": value, "acc_stderr,none": 0.125,
           "perplexity,none": 7.5, "perplexity_stderr,none": "N/A", "exact_match,strict-match": 1,
           "exact_match_stderr,strict-match": float("nan")}
    for task in tasks
}
written = {
    "results": {} if "empty" in tasks else results,
    "versions": {task: 1.5 for task in tasks},
    "n-shot": {task: int(given.num_fewshot or 0) for task in tasks},
    "higher_is_better": {task: {"acc": True, "perplexity": False, "exact_match": True} for task in tasks},
    "n-samples": {task: {"original": 12, "effective": count} for task in tasks},
    "lm_eval_version": "0.4.13", "transformers_version": "5.0", "given": sys.argv[1:],
}
place = pathlib.Path(given.output_path) / "__some__model"
place.mkdir(parents=True)
(place / "results_2026-01-01T00-00-00.0.json").write_text("{" if "broken" in tasks else json.dumps(written))
'''


@pytest.fixture(scope="module")
def finished(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and the stand-in beside it."""
    folder = tmp_path_factory.mktemp("harness")
    program = folder / "lm_eval"
    program.write_text(STAND_IN.replace("PYTHON", sys.executable, 1))
    program.chmod(0o755)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["run", *words(data_file)]) == 0
    finally:
        os.chdir(before)
    return folder


def words(data_file: Path) -> list[str]:
    smoke = ["debug=smoke", "dataset=jsonl", f"dataset.path={data_file}", "engine=cpu", "engine.threads=1"]
    return [*smoke, "curriculum=none", "filter.keep=1", "evaluate.targets=[student,distill]"]


@pytest.fixture
def asked(finished: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", "/of/this/environment"))
    return ["harness", *words(data_file), "evaluate.harness.program=./lm_eval", "evaluate.harness.tasks=[one,two]"]


def found(folder: Path) -> dict[str, Path]:
    """The artefacts by target."""
    folders = [path.parent for path in (folder / "outputs/harness").glob("*/manifest.json")]
    return {manifest(each)["settings"]["target"]: each for each in folders}


def suites(folder: Path) -> list[dict[str, Any]]:
    assert main(["report", "smoke"]) == 0
    return read_json(folder / "outputs/report/smoke/report.json")["standard_suites"]


def test_what_the_program_says_is_kept_and_reported_with_its_errors(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked) == 0
    artefacts = found(tmp_path)
    assert artefacts.keys() == {"student", "distill"}
    rows = read_jsonl(artefacts["distill"] / "harness.jsonl")
    assert len(rows) == 6
    value = next((tmp_path / "outputs/distill").glob("*/best/model.safetensors")).stat().st_size % 97 / 97
    acc = {"task": "one", "metric": "acc", "filter": "none", "value": value, "stderr": 0.125, "samples": 12}
    assert rows[0] == {**acc, "version": "1.5", "shots": 0, "higher_is_better": True}
    assert [row["stderr"] for row in rows[1:3]] == [None, None], "no error is no zero"
    assert {path.name for path in artefacts["distill"].iterdir()} == {"harness.jsonl", "results.json", "manifest.json"}
    assert manifest(artefacts["distill"])["ledger"]["program"]["lm_eval_version"] == "0.4.13"
    given = read_json(artefacts["distill"] / "results.json")["given"]
    assert given[:2] == ["--model", "hf"]
    assert "--device cpu" in " ".join(given)
    assert not {"--limit", "--num_fewshot", "--apply_chat_template", "--include_path"} & set(given)
    reported = suites(tmp_path)
    assert {(row["arm"], row["task"]) for row in reported} == {
        (arm, task) for arm in ("student (random)", "fkl") for task in ("one", "two")
    }
    assert [row["stderr"] for row in reported if row["metric"] == "acc"] == [0.125] * 4
    report = (tmp_path / "outputs/report/smoke/report.md").read_text()
    assert f"| fkl | one, 0 shots | acc ↑ | {value:.4f} | 0.1250 | 12 | 1 | 1.5 |" in report
    assert "lm-eval 0.4.13" in report
    capsys.readouterr()
    assert main(["show", str(artefacts["distill"])]) == 0
    assert "exact_match, strict-match" in capsys.readouterr().out
    # Asked otherwise it is another artefact; the report has both, and does not mix them.
    assert main([*asked, "evaluate.harness.limit=5", "evaluate.harness.shots=2"]) == 0
    assert len(list((tmp_path / "outputs/harness").glob("*/manifest.json"))) == 4
    both = [(row["samples"], row["shots"], row["num_runs"]) for row in suites(tmp_path) if row["arm"] == "fkl"]
    assert sorted(set(both)) == [(5, 2, 1), (12, 0, 1)]
    # A run of the same arm files itself again and forgets nothing.
    assert main(["run", *asked[1:-2]]) == 0
    assert len(suites(tmp_path)) == 24


def test_tasks_of_one_s_own_count_by_their_content(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "my tasks").mkdir()
    (tmp_path / "my tasks/mine.yaml").write_text("task: mine\n")
    line = [*asked[:-1], "evaluate.harness.tasks=[mine]", "evaluate.harness.include_path=my tasks"]
    assert main(line) == 0
    assert len(list((tmp_path / "outputs/harness").glob("*/manifest.json"))) == 2
    shutil.move(tmp_path / "my tasks", tmp_path / "moved")
    assert main([*line[:-1], "evaluate.harness.include_path=moved"]) == 0
    assert len(list((tmp_path / "outputs/harness").glob("*/manifest.json"))) == 2
    (tmp_path / "moved/mine.yaml").write_text("task: mine\nversion: 2\n")
    assert main([*line[:-1], "evaluate.harness.include_path=moved"]) == 0
    assert len(list((tmp_path / "outputs/harness").glob("*/manifest.json"))) == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["evaluate.harness.program=lm-evil"],
            "lm-evil: no such program; lm-eval needs an environment of its own: python",
        ),
        (["evaluate.harness.tasks=[one,tow,x]"], "lm-eval has no tow, x; `"),
        (["evaluate.harness.tasks=[fails]"], "lm_eval: ended with 3 (OSError: the data set cannot be had), more in "),
        (["evaluate.harness.tasks=[silent]"], "left no results that can be read in "),
        (["evaluate.harness.tasks=[empty]"], "left no results that can be read in "),
        (["evaluate.harness.tasks=[broken]"], "left no results that can be read in "),
        (["evaluate.harness.tasks=[]"], "evaluate.harness.tasks=[]: expected one or more different names"),
        (["evaluate.harness.include_path=nowhere"], "include_path=nowhere: expected a folder with the YAML files"),
        (["evaluate.harness.limit=0"], "evaluate.harness.limit=0: expected 1 to"),
    ],
)
def test_a_failure_is_one_line(
    asked: list[str], more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*asked, *more]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert not any("Traceback" in line for line in said)
    assert not list((tmp_path / "outputs/harness").glob("*/manifest.json"))
    if "more in" in message or "lm-eval has no" in message:
        # The command to try by hand fails alike.
        by_hand = said[-1].split("by hand: ")[1]
        assert os.WEXITSTATUS(os.system(f"env -u PYTHONPATH {by_hand} >/dev/null 2>&1")) != 0
    # What a failure has left is in nobody's way.
    assert main(asked) == 0


def test_an_adapter_and_weights_that_lie_nowhere_are_written_out_whole(
    cli: Cli, data_file: Path, asked: list[str], tmp_path: Path
) -> None:
    adapted = ["model.student.lora.rank=2", "model.student.lora.merge=false", "model.student.finetune.epochs=0"]
    cli("run", *words(data_file), *adapted, cwd=tmp_path)
    cli(*asked, *adapted, cwd=tmp_path)
    distilled = found(tmp_path)["distill"]
    best = tmp_path / "outputs" / manifest(distilled)["inputs"]["checkpoint"] / "best"
    assert (best / "adapter_config.json").is_file()
    assert len(read_jsonl(distilled / "harness.jsonl")) == 6
    assert found(tmp_path).keys() == {"student", "distill"}


def test_the_program_ends_with_what_has_started_it_and_is_asked_anew(asked: list[str], tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    line = [*asked[:-1], "evaluate.harness.tasks=[sleeps]"]
    assert kill_when(lambda: pid.is_file() and pid.read_text() != "", line, tmp_path)
    limit = time.monotonic() + 20
    while time.monotonic() < limit and is_alive(int(pid.read_text())):
        time.sleep(0.02)
    assert not is_alive(int(pid.read_text()))
    assert list((tmp_path / "outputs/harness").glob("*.partial"))
    assert main(asked) == 0


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asks after does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_run_that_is_not_filed_says_so_and_a_run_reads_none_of_it(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*asked, "study=other"]) == 0
    assert "harness: `srd run` with the same overrides files it under study=other" in capsys.readouterr().err
    assert main(["run", *asked[1:]]) == 0
    said = capsys.readouterr().err
    assert "nothing to do" in said
    assert "evaluate.harness" in said, "what `srd run` does not read is said"


def test_results_of_the_real_program_are_read() -> None:
    """A group beside its tasks, and the numbers that lm-eval 0.4.13 wrote for a task of 12 questions."""
    written = {
        "results": {
            "local": {"name": "local", "alias": "local", "sample_len": 12, "acc,none": 0.3333333333333333,
                      "acc_stderr,none": 0.14213381090374033, "acc_norm,none": 0.25, "acc_norm_stderr,none": "N/A"},
            "group": {"acc,none": 0.5, "acc_stderr,none": 0.1, "alias": "group"},
        },
        "versions": {"local": 1.5}, "n-shot": {"local": 0}, "higher_is_better": {"local": {"acc": True}},
        "n-samples": {"local": {"original": 20, "effective": 12}},
    }  # fmt: skip
    rows = rows_of(json.loads(json.dumps(written)))
    assert [(row.task, row.metric, row.filter) for row in rows] == [
        ("local", "acc", "none"), ("local", "acc_norm", "none"), ("group", "acc", "none"),
    ]  # fmt: skip
    assert (rows[0].value, rows[0].stderr) == (0.3333333333333333, 0.14213381090374033)
    # Of 12 questions of which a third is right: the standard deviation with 11 degrees of freedom, over their root.
    assert rows[0].stderr == pytest.approx((1 / 3 * 2 / 3 / 11) ** 0.5)
    assert [(row.stderr, row.samples, row.version) for row in rows[1:]] == [(None, 12, "1.5"), (0.1, None, "")]
