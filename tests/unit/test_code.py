"""Code in answers: which program an answer is, whose tests it must pass, and that known solutions do."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from srd.config import Code, Dataset
from srd.datasets import DATASETS
from srd.errors import UserError
from srd.metrics import METRICS, metrics_of_all
from srd.metrics.code import checks_of, code_of, outcomes, program_of
from srd.pipeline import begin, scoring
from srd.stages.samples import clean
from srd.store.rows import Sample, dump, read_rows
from tests.composing import config
from tests.conftest import ROOT, Cli
from tests.reading import read_jsonl, write_jsonl

SHARED = ROOT.parent / "shared/data"
START = 'from math import pi\n\n\ndef area(r):\n    """Of a circle."""\n'
BODY = "    square = r * r\n\n    return pi * square\n"
ADD = "def add(a, b):\n    return a + b\n"


def sample(instruction: str = "Add.", output: str = ADD, **more: Any) -> Sample:
    return Sample("0" * 16, instruction, "", output, "test", **{"tests": ["assert add(1, 2) == 3"], **more})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ADD, ADD),
        (f"{ADD}assert add(1, 2) == 4\nprint(add(1, 2))", ADD),
        (f"{ADD}[DONE]\nNext task", ADD),
        (f"Here it is:\n```python\n{ADD}```\nIt adds.\n```\nadd(1, 2)\n```", ADD),
        (f"Install:\n```bash\npip install x\n```\nThen:\n```py\n{ADD}```", ADD),
        (f"```\n{ADD}", ADD),
        ("  ```python\n  x = 1\n  ```", "  x = 1\n"),
        ("", ""),
    ],
)
def test_the_code_of_an_answer_is_its_fenced_block_or_all_before_it_talks_on(answer: str, expected: str) -> None:
    assert code_of(answer) == expected


def test_an_answer_completes_the_function_or_writes_it_anew() -> None:
    beginning = sample(START, BODY, entry_point="area", tests=["assert 3.14 < area(1) < 3.15"])
    whole = START + BODY
    assert program_of(BODY.strip(), beginning) == START + BODY.rstrip() + "\n", "answers have no outer white space"
    assert program_of(f"{BODY.strip()}\n\ndef other(): pass", beginning).rstrip() == whole.rstrip()
    for anew in (
        whole,
        f"Sure.\n```python\n{whole}\n```",
        "def area(r):\n    return pi * r * r",
        "area = lambda r: pi * r * r",
    ):
        assert program_of(anew, beginning).startswith(START), "the instruction's imports stay"
        assert program_of(anew, beginning).rstrip().endswith(code_of(anew).rstrip())


def test_a_pass_is_one_and_everything_else_nothing_in_the_order_of_the_answers(code: Code) -> None:
    beginning = sample(START, BODY, entry_point="area", tests=["assert 3.14 < area(1) < 3.15"])
    shadowing = sample(output="def sum(a, b):\n    return a + b", tests=["assert sum(1, 2) == 3"])
    asked = [
        (ADD, sample(), 1),
        ("", sample(), 0),
        (BODY.strip(), beginning, 1),
        ("", beginning, 0),
        ("while True: pass", sample(), 0),
    ]
    asked += [
        ("pass", beginning, 0),
        (shadowing.references[0], shadowing, 1),
        ("def sum(a, b): return 3 + a", shadowing, 0),
    ]
    code.cpu_seconds = 1
    rows = metrics_of_all(
        [each[0] for each in asked], [each[1] for each in asked], ["code_passes", "exact_match"], code
    )
    assert [row["code_passes"] for row in rows] == [each[2] for each in asked]
    assert [list(row) for row in rows] == [["code_passes", "exact_match"]] * 8
    assert [row["exact_match"] for row in rows][:2] == [1, 0]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (sample(tests=None), "no tests, which code_passes runs"),
        (sample(tests=["assert add(1, 2 == 3"]), "its tests do not parse"),
        (sample(tests=["assert True\0"]), "its tests do not parse"),
        (sample(setup="import"), "its tests do not parse"),
        (sample(tests=["add(1, 2)"]), "a test without an assert, which any code passes"),
    ],
)
def test_a_sample_that_cannot_be_tested_is_one_line(broken: Sample, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checks_of(broken)
    with pytest.raises(UserError, match=message):
        METRICS["code_passes"].check(broken)


def test_code_is_executed_by_leave_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before any work; the line says what it would do."""
    asked = ["debug=smoke", "evaluate=mbpp", f"outputs={tmp_path / 'outputs'}", "teacher.signal=online"]
    ranked = ["rank.signals=[pass_rate]", "rank.verifier=code_passes", "curriculum=baby_step"]
    for words in (asked, [*asked[:1], *asked[2:], *ranked]):
        with pytest.raises(UserError, match=r"code_passes would execute the code .* evaluate.allow_code=true to let"):
            begin.begin(config(*words))
    tried: list[Code] = []
    monkeypatch.setattr(begin, "walls", tried.append)
    begin.begin(config(*asked, "evaluate.allow_code=true"))
    begin.begin(config(*asked[:1], *asked[2:]))
    begin.begin(config(*asked), planning=True)
    assert len(tried) == 1


def test_what_executes_nothing_knows_no_settings_of_it() -> None:
    plain, tested = (
        scoring.evaluate(config("debug=smoke", *more), "student", "heldout")
        for more in ([], ["evaluate.metrics=[code_passes,rouge_l]"])
    )
    assert not plain.settings.keys() & {"metrics", "code"}
    assert tested.settings["metrics"] == ["code_passes", "rouge_l"]
    assert tested.settings["code"]["memory_mb"] == 512


def test_tests_stand_in_a_sample_that_has_them_alone(tmp_path: Path) -> None:
    rows = [
        {"split": "train", "text": "Add.", "code": ADD, "test_list": ["assert add(1, 2) == 3"], "test_setup_code": ""},
        {"split": "prompt", "text": "Shown.", "code": ADD, "test_list": ["assert add(1, 2) == 3"]},
        {
            "split": "test",
            "instruction": "Take.",
            "output": "x = 1",
            "test_list": ["assert x"],
            "test_setup_code": "y = 1",
        },
    ]
    write_jsonl(tmp_path / "mbpp.jsonl", rows)
    dataset = config("dataset=mbpp", f"dataset.path={tmp_path}").dataset
    samples, _ = clean(DATASETS["mbpp"].load(dataset), strict=True)
    (tmp_path / "samples.jsonl").write_text("".join(dump(each) for each in samples))
    assert [list(row)[1:] for row in read_jsonl(tmp_path / "samples.jsonl")] == [
        ["instruction", "input", "output", "split", "tests", "setup"],
        ["instruction", "input", "output", "split", "tests"],
    ]
    assert read_rows(tmp_path / "samples.jsonl", Sample) == samples
    assert samples[1].input == "assert add(1, 2) == 3", "the prompt shows the tests"
    assert "tests" not in dump(Sample("0", "a", "", "b", "test"))
    write_jsonl(tmp_path / "mbpp.jsonl", [{**rows[0], "split": "held out"}])
    with pytest.raises(UserError, match=r"mbpp.jsonl:1: split='held out': expected train"):
        list(DATASETS["mbpp"].load(dataset))


def shared_samples(name: str) -> list[Sample]:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not here")
    dataset = config("dataset=mbpp", f"dataset.path={SHARED / name}").dataset
    if name == "humaneval":
        suite = config("evaluate=humaneval").evaluate.suites[name]
        assert isinstance(suite, Dataset)
        dataset = Dataset(**{**vars(suite), "path": str(SHARED / name)})
    return clean(DATASETS[name].load(dataset), strict=True)[0]


@pytest.mark.parametrize(("name", "splits"), [("mbpp", [374, 90, 500]), ("humaneval", [0, 0, 164])])
def test_every_row_of_the_real_sets_can_be_tested(name: str, splits: list[int]) -> None:
    samples = shared_samples(name)
    assert [sum(each.split == split for each in samples) for split in ("train", "dev", "test")] == splits
    assert all(checks_of(each) for each in samples)


@pytest.mark.slow  # some ten seconds of two processors
@pytest.mark.parametrize("name", ["mbpp", "humaneval"])
def test_known_solutions_pass_and_the_empty_answer_nowhere(name: str, code: Code) -> None:
    """Of twelve, by chance; all 964 and all 164 do, and the empty answer nowhere, in five minutes of two processors."""
    samples = random.Random(7).sample(shared_samples(name), 12)
    found = outcomes([each.references[0].strip() for each in samples], samples, code)
    assert [(each.id, outcome.why) for each, outcome in zip(samples, found, strict=True) if not outcome.passed] == []
    assert not any(outcome.passed for outcome in outcomes([""] * 10, samples[:10], code))


@pytest.mark.slow  # the pipeline
def test_the_small_row_of_the_table_runs(cli: Cli, tmp_path: Path, code: Code) -> None:
    shared_samples("mbpp")
    words = ["run", "experiment=mbpp/small", "debug=smoke", "engine=cpu", "dataset.limit=8", "dataset.test_samples=4"]
    words += [f"dataset.path={SHARED / 'mbpp'}", "evaluate=mbpp", "model.max_prompt_tokens=64", "model.max_tokens=100"]
    assert "evaluate.allow_code=true" in cli(*words, cwd=tmp_path, code=2).stderr
    assert not (tmp_path / "outputs" / "samples").exists(), "refused before any work"
    printed = cli(*words, "evaluate.allow_code=true", cwd=tmp_path).stdout
    assert printed.count("pass@1   0.00") == 3
    rows = read_jsonl(next((tmp_path / "outputs").glob("evaluate/*/scores.jsonl")))
    assert {row["code_passes"] for row in rows} == {0.0}
    assert json.dumps(rows[0])
