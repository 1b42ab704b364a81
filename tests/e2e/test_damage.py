"""Whatever happens to a file of a finished artefact is told by its name, whatever the stage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from srd.commands.ls import ls
from srd.commands.show import show
from srd.errors import UserError
from srd.report.write import write_report
from srd.store.manifests import MANIFEST, artefacts_in, check_contents, read_manifest
from srd.store.seals import seal, unseal
from tests.conftest import Cli
from tests.damage import DAMAGE, files_in
from tests.reading import manifest

pytestmark = pytest.mark.slow

STAGES = 11
FILES = 49


@pytest.fixture(scope="module")
def finished(cli: Cli, smoke: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    cli("run", *smoke, "evaluate.seeds=[10]", cwd=folder)
    return folder / "outputs"


def told(outputs: Path, folder: Path) -> list[str]:
    """What the ways to an artefact say of it: its check, `srd show`, `srd ls`; one line each."""
    ways: list[Callable[[], object]] = [
        lambda: check_contents(folder),
        lambda: show([str(folder), f"outputs={outputs}"]),
        lambda: ls(["artefacts", f"outputs={outputs}"]),
    ]
    lines = []
    for way in ways:
        with pytest.raises(UserError) as caught:
            way()
        lines.append(str(caught.value))
    assert all("\n" not in line for line in lines)
    return lines


def test_every_file_of_every_stage_is_told_by_name(finished: Path, tmp_path: Path) -> None:
    folders = artefacts_in(finished)
    assert len({folder.parent.name for folder in folders}) == STAGES - 1, "answers are of another method"
    tried = 0
    for folder in folders:
        for file in [path for path in files_in(folder) if path.name != MANIFEST]:
            for kind, damage in DAMAGE.items():
                outputs = tmp_path / f"{tried}"
                copy = outputs / folder.relative_to(finished)
                shutil.copytree(folder, copy)
                damage(copy / file.relative_to(folder))
                for line in told(outputs, copy):
                    assert str(copy / file.relative_to(folder)) in line, kind
                tried += 1
    assert tried == FILES * len(DAMAGE)


@pytest.mark.parametrize("text", ["{}", "[]", "null", "", "{", '{"files": {}}', "1" * 5000, "[" * 100_000, "\0" * 9])
def test_a_manifest_that_is_none_is_one_line(finished: Path, tmp_path: Path, text: str) -> None:
    folder = artefacts_in(finished)[0]
    copy = tmp_path / folder.relative_to(finished)
    shutil.copytree(folder, copy)
    (copy / MANIFEST).write_text(text)
    for line in told(tmp_path, copy):
        assert f"{copy / MANIFEST}: damaged" in line
        assert f"delete the folder {copy} to make it again" in line


def test_every_field_of_a_manifest_is_vouched_for(finished: Path, tmp_path: Path) -> None:
    """Also one that is sealed anew, where it decides the fingerprint."""
    folder = finished / "evaluate"
    folder = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))[0]
    copy = tmp_path / folder.relative_to(finished)
    shutil.copytree(folder, copy)
    fields = list(manifest(folder))
    assert len(fields) >= 12
    for field in fields:
        edited = manifest(folder)
        edited[field] = {"edited": edited[field]}
        (copy / MANIFEST).write_text(json.dumps(edited))
        assert "damaged, changed" in told(tmp_path, copy)[0]
    for field in ("stage", "version", "settings", "inputs"):
        record = unseal(folder / MANIFEST)
        assert record is not None
        record[field] = {"stage": "rank", "version": 99, "settings": {}, "inputs": {}}[field]
        (copy / MANIFEST).write_text(seal(record))
        assert "its settings are not those of its fingerprint" in told(tmp_path, copy)[0]


def test_what_lies_beside_and_what_was_exchanged_is_named(finished: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(finished, outputs)
    for stage, name in (
        ("tokenizer", "added_tokens.json"),
        ("distill", "phase-7"),
        ("finetune", "model/chat_template.jinja"),
    ):
        folder = next((outputs / stage).glob("*/manifest.json")).parent
        beside = folder / name
        beside.mkdir() if stage == "distill" else beside.write_text("{}")
        assert f"{beside}: does not belong to the artefact" in told(outputs, folder)[0]
        beside.rmdir() if stage == "distill" else beside.unlink()
        read_manifest(folder)
    one, other = sorted(path.parent for path in (outputs / "finetune").glob("*/manifest.json"))
    one.rename(tmp_path / "held")
    other.rename(one)
    (tmp_path / "held").rename(other)
    assert f"{one}: holds finetune/{other.name}" in told(outputs, one)[0]


def test_a_study_s_entry_is_vouched_for(finished: Path, tmp_path: Path) -> None:
    entry = next((finished / "report/smoke/runs").glob("*.json"))
    for name, text in (
        ("edited", entry.read_text().replace('"seed": 10', '"seed": 20')),
        ("halved", "{"),
        ("old", "{}"),
    ):
        outputs = tmp_path / name
        shutil.copytree(finished, outputs)
        place = outputs / entry.relative_to(finished)
        assert text != entry.read_text()
        place.write_text(text)
        with pytest.raises(UserError, match="damaged, changed, or of an older srd; delete it and run"):
            write_report(outputs, "smoke")
