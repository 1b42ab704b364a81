"""`engine.processes=2` gives the artefacts of one process, and can be killed like it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.e2e.test_resume import assert_same, kill_when, progress
from tests.reading import manifest, read_jsonl

pytestmark = pytest.mark.slow

SHARED = {"reflect": 1, "cache": 1, "distill": 1}
"""The stages made again by two processes; the same code answers for `evaluate` and trains in `finetune`."""


def rows(outputs: Path, name: str) -> list[dict[str, Any]]:
    return read_jsonl(next(outputs.glob(name)))


@pytest.fixture(scope="module")
def overrides(smoke: list[str]) -> list[str]:
    return [*smoke, "dataset.limit=24", "dataset.test_samples=8", "evaluate.targets=[distill]", "engine.save_steps=1"]


@pytest.fixture(scope="module")
def one(cli: Cli, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    cli("run", *overrides, cwd=folder)
    return folder / "outputs"


@pytest.fixture(scope="module")
def two(cli: Cli, overrides: list[str], one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(one, folder / "outputs")
    for stage in SHARED:
        shutil.rmtree(folder / "outputs" / stage)
    cli("run", *overrides, "engine.processes=2", cwd=folder)
    return folder / "outputs"


def test_two_processes_give_the_artefacts_of_one(one: Path, two: Path) -> None:
    names = {str(path.parent.relative_to(one)) for path in one.glob("*/*/manifest.json")}
    assert names == {str(path.parent.relative_to(two)) for path in two.glob("*/*/manifest.json")}, (
        "the engine is in no fingerprint"
    )
    manifests = {name: manifest(two / name) for name in names}
    shared = {name: m for name, m in manifests.items() if m["engine"]["processes"] == 2}
    assert {stage: sum(m["stage"] == stage for m in shared.values()) for stage in SHARED} == SHARED
    assert len(shared) == sum(SHARED.values())
    assert all(m["ledger"]["peak_memory_bytes"] > 1e7 for m in shared.values())
    for name, ours in shared.items():
        theirs = manifest(one / name)
        assert set(ours["files"]) == set(theirs["files"])
        for key in ("sample_passes", "training_tokens", "scored_tokens", "steps"):
            assert ours["ledger"].get(key) == theirs["ledger"].get(key), (name, key)
    losses = [[row["train/loss_nats"] for row in rows(outputs, "distill/*/metrics.jsonl")] for outputs in (one, two)]
    assert len(losses[0]) >= 6
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    reflections = [rows(outputs, "reflect/*/reflections.jsonl") for outputs in (one, two)]
    assert len(reflections[0]) == 24
    assert [row["id"] for row in reflections[0]] == [row["id"] for row in reflections[1]]
    assert [row["nll"] for row in reflections[1]] == pytest.approx([row["nll"] for row in reflections[0]], rel=1e-3)


def test_two_processes_killed_and_continued_equal_straight(
    cli: Cli, overrides: list[str], two: Path, tmp_path: Path
) -> None:
    shutil.copytree(two, tmp_path / "outputs")
    shutil.rmtree(tmp_path / "outputs" / "distill")
    words = ["distill", *overrides, "engine.processes=2"]
    begun = tmp_path / "outputs" / "distill"
    assert kill_when(lambda: any(begun.glob("*.partial")) and progress(begun) >= 3, words, tmp_path)
    cli(*words, cwd=tmp_path)
    assert_same(tmp_path / "outputs", two, "distill")


def test_what_several_processes_cannot_do_is_said(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    said = cli("run", *smoke, "engine.processes=2", "engine.device=mps", cwd=tmp_path, code=2)
    assert (
        said.stderr.strip().splitlines()[-1]
        == "srd: engine.device=mps: expected auto, cpu or cuda beside engine.processes=2"
    )
    said = cli("run", *smoke, "engine.processes=2", "engine.generation_backend=vllm", cwd=tmp_path, code=2)
    assert (
        said.stderr.strip()
        .splitlines()[-1]
        .startswith("srd: engine.generation_backend=vllm: expected transformers beside")
    )
