"""What the campaign plants is there, and is found where a command passes over it."""

import json
import shutil
from pathlib import Path
from random import Random

from srd.config import Config
from tests.campaign import damage, data, fuzz, looking
from tests.campaign.__main__ import KINDS, turn
from tests.campaign.files import DOUBTFUL, READ, REFUSED, write
from tests.campaign.misplace import misplace
from tests.campaign.rows import File
from tests.campaign.trials import Ran, Trial


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


def test_every_damage_leaves_another_folder_and_says_so(tmp_path: Path) -> None:
    sound = outputs(tmp_path / "sound")
    told = set()
    for number in range(60):
        ours = shutil.copytree(sound, tmp_path / str(number))
        rng = Random(number)
        if number % 3 == 0:
            done = misplace(rng, ours)
            assert done is not None
            how = done.how
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
    said = ["", "srd: something is not right\n", f"srd: finetune/{'a' * 16}: weights differ\n"]
    for ran in (Ran(("run",), 0, "", said[0]), *(Ran(("plan",), 2, "", line) for line in said[1:])):
        looking.judge(trial, ran, ["weights", "a" * 16], False, ours, sound)
    assert [finding.expected for finding in trial.findings] == [
        "the sound outputs after run",
        "a line of plan that names the file or its folder",
    ]


def test_every_kind_of_file_is_another_file(tmp_path: Path) -> None:
    lines = [b'{"instruction": "a", "input": "", "output": "b"}', b'{"instruction": "c", "input": "", "output": "d"}']
    seen = set()
    for number, kind in enumerate((*REFUSED, *DOUBTFUL, *READ, "lines")):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = write(lines, kind, folder)
        seen.add((path.name, path.read_bytes() if path.is_file() else kind))
    assert len(seen) == len(REFUSED) + len(DOUBTFUL) + len(READ) + 1


def test_a_refusal_names_the_odd_line() -> None:
    ran = Ran(("cache",), 2, "", "srd: c/rows.jsonl:2: not JSON\n")
    trial = Trial()
    for refused in ([2], [1], []):
        data.check_refusal(trial, File(refused=refused), ran)
    assert [finding.expected for finding in trial.findings] == [
        "one of the odd lines [1] named",
        "that sound rows are read ()",
        "one of the odd lines [] named",
    ]


def test_five_minutes_meet_every_kind() -> None:
    assert set(turn(list(KINDS))[:14]) == set(KINDS)


def test_fractional_keys_are_known() -> None:
    found = fuzz.floats(Config)
    assert len(found) > 25
    assert {"distill.learning_rate", "filter.keep", "plan.memory_gb"} <= {*found}
    assert not {"distill.epochs", "study", "curriculum.sizes"} & {*found}
