"""The campaign finds what is planted, holds where the program holds, and draws everything from its seed."""

import json
import os
import shutil
import signal
from pathlib import Path
from random import Random

import pytest

from srd.config import Config
from tests.campaign import damage, data, fuzz, kills, odd
from tests.campaign.__main__ import KINDS, SHARES, turn
from tests.campaign.commands import srd
from tests.campaign.equality import differences
from tests.campaign.files import DOUBTFUL, READ, REFUSED, write
from tests.campaign.lab import Lab
from tests.campaign.misplace import misplace
from tests.campaign.report import Report
from tests.campaign.rows import File, draw
from tests.campaign.trials import Finding, Ran, Trial
from tests.campaign.variants import VARIANTS, overrides
from tests.campaign.wounds import Wound
from tests.conftest import ROOT

TRACEBACK = 'Traceback (most recent call last):\n  File "/x/srd/cli.py", line 3, in main\nValueError: x\n'


@pytest.mark.parametrize(
    ("code", "err", "expected"),
    [
        (0, "", None),
        (0, "12:00:01 samples/1  reused\n", None),
        (2, "12:00:01 samples/1  reused\nsrd: study=: empty\n", None),
        (0, "a warning\n", "no stray line on stderr"),
        (1, "srd: x\n", "exit code 0 or 2"),
        (2, "srd: x\nand more\n", "exactly one line `srd: …`"),
        (2, "usage: srd-run\n", "exactly one line `srd: …`"),
        (2, "", "exactly one line `srd: …`"),
        (1, TRACEBACK, "no traceback"),
        (0, TRACEBACK, "no traceback"),
        (None, "", "an end within the limit"),
        (-11, "", "exit code 0 or 2"),
    ],
)
def test_every_way_to_break_the_rules_is_a_finding(code: int | None, err: str, expected: str | None) -> None:
    breach = Ran(("run",), code, "", err).breach()
    assert (breach and breach.expected) == expected


def outputs(folder: Path) -> Path:
    """Two artefacts of one stage, as a run leaves them, but for what is in them."""
    for name, text in (("a", "1"), ("b", "2")):
        made = folder / "outputs" / "finetune" / (name * 16)
        (made / "model").mkdir(parents=True)
        (made / "model" / "weights").write_text(text)
        (made / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 0.5, "seconds": float(text)}) + "\n")
        ledger = {"seconds": float(text), "tokens": 7}
        (made / "manifest.json").write_text(json.dumps({"stage": "finetune", "ledger": ledger, "inputs": {}}))
    return folder / "outputs"


def test_outputs_differ_by_content_and_not_by_the_clock(tmp_path: Path) -> None:
    ours, sound = outputs(tmp_path / "ours"), outputs(tmp_path / "sound")
    made = ours / "finetune" / ("a" * 16)
    (made / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "seconds": 9.0}\n')
    (made / "manifest.json").write_text('{"stage": "finetune", "ledger": {"seconds": 8, "tokens": 7}, "inputs": {}}')
    (made.parent / "x.lock").touch()
    assert differences(ours, sound) == []
    (made / "metrics.jsonl").write_text('{"step": 1, "loss": 0.25, "seconds": 9.0}\n')
    (made / "manifest.json").write_text('{"stage": "finetune", "ledger": {"seconds": 8, "tokens": 8}, "inputs": {}}')
    (made / "model" / "weights").rename(made / "weights.tmp")
    found = [line.partition("/")[2].partition("/")[2] for line in differences(ours, sound)]
    assert found == [
        "manifest.json: different",
        "metrics.jsonl: different",
        "model/weights: missing",
        "weights.tmp: foreign",
    ]


def test_every_damage_leaves_another_folder_and_says_so(tmp_path: Path) -> None:
    sound = outputs(tmp_path / "sound")
    told = set()
    for number in range(60):
        ours = shutil.copytree(sound, tmp_path / str(number))
        rng = Random(number)
        if number % 3 == 0:
            done = misplace(rng, ours)
            assert done is not None
            how = done[1]
        else:
            how = damage.damage(rng, ours / "finetune" / ("a" * 16) / rng.choice(["manifest.json", "metrics.jsonl"]))
        told.add(how.split()[0])
        changed = {path.relative_to(ours): path.is_file() and path.read_bytes() for path in ours.rglob("*")}
        assert changed != {p.relative_to(sound): p.is_file() and p.read_bytes() for p in sound.rglob("*")}, how
    assert told >= {"emptied", "deleted", "cut", "byte", "replaced", "a", "exchanged", "line"}


def test_damage_that_is_passed_over_is_a_finding(tmp_path: Path) -> None:
    ours, sound = outputs(tmp_path / "ours"), outputs(tmp_path / "sound")
    weights = ours / "finetune" / ("a" * 16) / "model" / "weights"
    weights.write_text("3")
    trial = Trial()
    damage.check(trial, Ran(("run",), 0, "", ""), [weights], ours, sound)
    damage.check(trial, Ran(("plan",), 2, "", "srd: something is not right\n"), [weights], ours, sound)
    damage.check(trial, Ran(("plan",), 2, "", f"srd: finetune/{'a' * 16}: weights differ\n"), [weights], ours, sound)
    assert [finding.expected for finding in trial.findings] == [
        "the sound outputs after run",
        "a line of plan that names the file or its folder",
    ]


def test_a_report_counts_by_kind_and_tells_each_finding_once(tmp_path: Path) -> None:
    report = Report(seed=7)
    report.add("kills", "7-0", Trial(["srd run"]))
    for number in (1, 2):
        report.add("kills", f"7-{number}", Trial(["srd run"], [Finding("no traceback", f"exit {number}: x")]))
    report.write(tmp_path)
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["counts"] == {"kills": {"tried": 3, "held": 1, "found": 2}}
    (found,) = record["findings"]
    assert (found["seed"], found["cases"], found["expected"]) == (7, 2, "no traceback")
    assert found["reproduce"] == "python -m tests.campaign --case kills/7-1"
    assert found["reproduce"] in (tmp_path / "report.txt").read_text()


def test_a_seed_says_all(tmp_path: Path) -> None:
    assert KINDS.keys() == SHARES.keys() == set(turn(list(KINDS))[:14]), "a short campaign meets every kind"
    assert draw(Random("data/1-1")) == draw(Random("data/1-1"))
    assert len({odd.value(Random(number)) for number in range(400)}) > 60
    assert len(fuzz.floats(Config)) > 25
    assert len({repr(overrides(name, tmp_path)) for name in VARIANTS}) == len(VARIANTS) > 15


def test_every_kind_of_file_is_another_file(tmp_path: Path) -> None:
    lines = [b'{"instruction": "a", "input": "", "output": "b"}', b'{"instruction": "c", "input": "", "output": "d"}']
    seen = set()
    for number, kind in enumerate((*REFUSED, *DOUBTFUL, *READ, "lines")):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = write(lines, kind, folder)
        seen.add((path.name, path.read_bytes() if path.is_file() else kind))
    assert len(seen) == len(REFUSED) + len(DOUBTFUL) + len(READ) + 1


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("campaign") / "lab")


@pytest.mark.slow
def test_a_run_that_is_killed_twice_ends_as_if_nobody_had(lab: Lab) -> None:
    sound = lab.sound("without a teacher")
    assert sound.writes > 30
    wounds = [Wound(signal.SIGKILL, "first", sound.writes // 3), Wound(signal.SIGTERM, "group", sound.writes // 3)]
    trial = kills.killed(sound.words, wounds, sound.outputs, lab.case("killed"))
    assert trial.findings == []
    assert len(trial.steps) == 3
    scores = next((lab.folder / "killed" / "outputs").glob("evaluate/*/scores.jsonl"))
    os.truncate(scores, scores.stat().st_size - 1)
    assert [line.rpartition("/")[2] for line in differences(lab.folder / "killed" / "outputs", sound.outputs)] == [
        "scores.jsonl: different"
    ]


@pytest.mark.slow
def test_words_and_rows_that_hold_today(lab: Lab) -> None:
    line = overrides("plain", lab.folder)
    assert fuzz.said(["plan", *line, "distill.epochs=x"], lab.case("words"), real=False).findings == []
    accepted = fuzz.said(["plan", *line, "study=smoke"], lab.case("sound words"), real=True)
    assert accepted.findings == []
    file = File(lines=[b'{"instruction": "a", "output": "b"}', b"{"], refused=[2])
    folder = lab.case("rows")
    ran = srd("reflect", *line[1:], f"dataset.path={write(file.lines, file.kind, folder)}", cwd=folder)
    assert ran.code == 2
    trial = Trial()
    data.check_refusal(trial, file, ran)
    data.check_refusal(trial, File(lines=file.lines, refused=[1]), ran)
    assert [finding.expected for finding in trial.findings] == ["one of the odd lines [1] named"]
    assert ROOT.joinpath("Makefile").read_text().count("tests.campaign $(ARGS)") == 1
