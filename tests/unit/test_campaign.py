"""The campaign does what it says: its cases come from their names, and it finds what has been put there to be found."""

import json
import shutil
import signal
from pathlib import Path
from random import Random

import pytest

from tests.campaign import damage, odd, rows
from tests.campaign.__main__ import KINDS, SHARES, tried
from tests.campaign.equality import differences
from tests.campaign.kills import killed
from tests.campaign.lab import Lab
from tests.campaign.report import Report
from tests.campaign.trials import Finding, Ran, Trial
from tests.campaign.variants import VARIANTS
from tests.campaign.wounds import Wound, draw
from tests.conftest import ROOT


def test_every_kind_has_its_share_and_a_target() -> None:
    assert list(SHARES) == list(KINDS)
    assert len(VARIANTS) >= 20
    assert "tests.campaign $(ARGS)" in (ROOT / "Makefile").read_text()


def test_a_case_is_drawn_from_its_name_alone() -> None:
    for make in (lambda rng: draw(rng, 100, 5.0, False), rows.draw, odd.value, lambda rng: odd.flags(rng, ["a", "b"])):
        drawn = [repr(make(Random(f"kind/{number}"))) for number in range(50)]
        assert drawn == [repr(make(Random(f"kind/{number}"))) for number in range(50)]
        assert len(set(drawn)) > 20


@pytest.mark.parametrize(
    ("code", "err", "expected"),
    [
        (0, "09:30:01 samples/1234 started\n", None),
        (2, "09:30:01 started\nsrd: filter.keep=2: expected a share\n", None),
        (0, "warnings.warn(\n", "no stray line on stderr"),
        (1, "srd: something\n", "exit code 0 or 2"),
        (2, "srd: one\nsrd: two\n", "exactly one line `srd: …`"),
        (2, "usage: srd-run\n", "exactly one line `srd: …`"),
        (1, 'Traceback (most recent call last):\n  File "/x/srd/cli.py", line 1, in main\nE: x\n', "no traceback"),
        (None, "", "an end within the limit"),
    ],
)
def test_a_breach_of_manners_is_seen(code: int | None, err: str, expected: str | None) -> None:
    breach = Ran(("run",), code, "", err).breach()
    assert (breach and breach.expected) == expected


def test_outputs_differ_where_a_file_does_but_for_times(tmp_path: Path) -> None:
    manifest = {
        "started": "1",
        "ledger": {"seconds": 1, "steps": 3},
        "files": {"metrics.jsonl": {"sha256": "1", "rows": 1}},
    }
    metrics = {"loss": 1.5, "train/tokens_per_second": 10}
    for name in ("sound", "ours"):
        folder = tmp_path / name / "distill" / "0123"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "metrics.jsonl").write_text(json.dumps(metrics))
        (folder / "rows.jsonl").write_text("{}\n")
        manifest = {
            "started": "2",
            "ledger": {"seconds": 2, "steps": 3},
            "files": {"metrics.jsonl": {"sha256": "2", "rows": 1}},
        }
        metrics = {"loss": 1.5, "train/tokens_per_second": 11}
    ours, sound = tmp_path / "ours", tmp_path / "sound"
    assert differences(ours, sound) == []
    (folder / "rows.jsonl").write_text("{ }\n")
    (folder / "x.tmp").write_text("")
    (folder / "metrics.jsonl").unlink()
    names = ["metrics.jsonl: missing", "rows.jsonl: different", "x.tmp: foreign"]
    assert differences(ours, sound) == [f"distill/0123/{name}" for name in names]
    manifest["ledger"] = {"seconds": 2, "steps": 4}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert len(differences(ours, sound)) == 4


def test_findings_that_differ_in_numbers_alone_are_one(tmp_path: Path) -> None:
    report = Report(7)
    report.add("kills", "7-0", Trial(["srd run"], [Finding("nothing", "file 12 of 0a1b2c3d")]))
    report.add("kills", "7-1", Trial(["srd run"], [Finding("nothing", "file 9 of ffffffff")]))
    report.add("kills", "7-2", Trial(["srd run"]))
    report.write(tmp_path)
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["counts"] == {"kills": {"tried": 3, "held": 1, "found": 2}}
    assert [(each["reproduce"], each["cases"]) for each in record["findings"]] == [
        ("python -m tests.campaign --case kills/7-0", 2)
    ]
    assert "expected  nothing" in (tmp_path / "report.txt").read_text()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("campaign"))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["words/1-0", "fuzz/1-0", "fuzz/1-2", "data/1-0", "data/1-1"])
def test_cases_that_hold(lab: Lab, case: str) -> None:
    kind, _, name = case.partition("/")
    trial = tried(kind, name, lab)
    assert trial.steps
    assert trial.findings == []


@pytest.mark.slow
def test_a_killed_run_holds_and_a_foreign_file_is_found(lab: Lab) -> None:
    sound = lab.sound("without a teacher")
    wounds = [Wound(signal.SIGKILL, "first", sound.writes // 3), Wound(signal.SIGINT, "group", sound.writes // 4)]
    folder = lab.case("kills/test")
    trial = killed(sound.words, wounds, sound.outputs, folder)
    assert len(trial.steps) == 1 + len(wounds)
    assert trial.findings == []
    (folder / "outputs" / "left.tmp").write_text("")
    assert [each.came for each in killed(sound.words, [], sound.outputs, folder).findings] == ["1: left.tmp: foreign"]


@pytest.mark.slow
def test_damage_is_made_good_or_found(lab: Lab) -> None:
    sound = lab.sound("without a teacher")
    for way, wanted in (("unlink", 0), ("touch", 1)):
        outputs = lab.case(f"damage/{way}") / "outputs"
        shutil.copytree(sound.outputs, outputs)
        path = next(outputs.glob("partition/*/manifest.json"))
        path.unlink()
        if way == "touch":  # a lie of the campaign's own: what it compares with lacks the artefact
            shutil.rmtree(path.parent)
        trial = Trial()
        expected = sound.outputs if wanted == 0 else lab.case("damage/empty")
        damage.look(trial, [sound.words], path, outputs, expected, killed=False)
        assert len(trial.findings) == wanted
