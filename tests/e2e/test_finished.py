"""Whatever happens to a finished artefact's files, no command uses them: one line with the file's name."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from srd.cli import main
from tests.conftest import Cli
from tests.unit.test_manifests import flip, halve

pytestmark = pytest.mark.slow

STAGES = ("samples", "tokenizer", "finetune", "reflect", "rank", "filter", "partition", "cache", "distill", "evaluate")
Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def overrides(smoke: list[str]) -> list[str]:
    return [*smoke, "evaluate.targets=[distill]"]


@pytest.fixture(scope="module")
def finished(cli: Cli, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    cli("run", *overrides, cwd=folder)
    return folder


@pytest.fixture
def run(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in the folder of the finished run: its exit code and the lines of its mistake."""
    monkeypatch.chdir(finished)

    def command(*words: str) -> tuple[int, list[str]]:
        code = main(list(words))
        return code, [line for line in capsys.readouterr().err.splitlines() if line.startswith("srd: ")]

    return command


def files() -> list[Path]:
    """Every file of every artefact."""
    folders = [path.parent for path in sorted(Path("outputs").glob("*/*/manifest.json"))]
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def put_back(path: Path, content: bytes, stat: os.stat_result) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("damage", [flip, halve, Path.unlink])
def test_a_finished_run_finds_damage_to_any_file(
    run: Run, overrides: list[str], damage: Callable[[Path], None]
) -> None:
    assert run("run", *overrides) == (0, [])
    seen: dict[str, int] = {}
    for path in files():
        if damage is Path.unlink and path.name == "manifest.json":
            continue  # then there is no artefact, and it is made
        content, stat = path.read_bytes(), path.stat()
        damage(path)
        code, lines = run("run", *overrides)
        put_back(path, content, stat)
        assert (code, len(lines)) == (2, 1), path
        assert str(path) in lines[0]
        seen[path.parts[1]] = seen.get(path.parts[1], 0) + 1
    assert seen.keys() == set(STAGES)
    assert sum(seen.values()) >= 45
    assert run("run", *overrides) == (0, [])


def test_every_command_finds_it(run: Run, overrides: list[str]) -> None:
    """One file of every stage."""
    by_stage = {path.parts[1]: path for path in files() if path.name != "manifest.json"}
    assert by_stage.keys() == set(STAGES)
    checked = 0
    for stage, path in by_stage.items():
        content, stat = path.read_bytes(), path.stat()
        flip(path)
        commands = [["report", "smoke"], ["show", "/".join(path.parts[1:3])], ["ls", "artefacts"], ["run", *overrides]]
        commands += [["evaluate", *overrides], *([["plan", *overrides]] if stage != "evaluate" else [])]
        for words in commands:
            code, lines = run(*words)
            assert (code, len(lines)) == (2, 1), (words[0], path, lines)
            assert str(path) in lines[0]
            checked += 1
        put_back(path, content, stat)
    assert checked == 6 * len(STAGES) - 1


def test_scores_that_were_edited_are_never_printed(run: Run, overrides: list[str]) -> None:
    path = next(Path("outputs/evaluate").glob("*/scores.jsonl"))
    content, stat = path.read_bytes(), path.stat()
    rows = [{**json.loads(line), "rouge_l": 0.99} for line in content.decode().splitlines()]
    for text in ("".join(json.dumps(row) + "\n" for row in rows), ""):
        path.write_text(text)
        for words in (["run", *overrides], ["evaluate", *overrides], ["report", "smoke"], ["show", "evaluate"]):
            code, lines = run(*words)
            assert (code, len(lines)) == (2, 1)
            assert str(path) in lines[0]
    put_back(path, content, stat)


def test_models_that_changed_places_are_told(run: Run, overrides: list[str]) -> None:
    one, other = sorted(path.parent for path in Path("outputs/finetune").glob("*/manifest.json"))
    kept = Path("kept")
    shutil.copytree("outputs", kept)
    one.rename("moved")
    other.rename(one)
    Path("moved").rename(other)
    for words in (["run", *overrides], ["report", "smoke"], ["ls", "artefacts"]):
        code, lines = run(*words)
        assert (code, len(lines)) == (2, 1)
        assert "holds finetune/" in lines[0]
    shutil.rmtree("outputs")
    kept.rename("outputs")
    assert run("run", *overrides) == (0, [])


def test_a_study_that_was_edited_is_told(run: Run, overrides: list[str]) -> None:
    path = next(Path("outputs/report/smoke/runs").glob("*.json"))
    content, stat = path.read_bytes(), path.stat()
    for text in ("{}", "null", content.decode().replace('"seed": ', '"seed": 1'), content.decode()[:-9]):
        path.write_text(text)
        for words in (["run", *overrides], ["report", "smoke"]):
            code, lines = run(*words)
            assert (code, len(lines)) == (2, 1)
            assert str(path) in lines[0]
    put_back(path, content, stat)
