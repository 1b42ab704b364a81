"""Killed and continued equals straight through: rows byte for byte, weights bit for bit."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.conftest import Cli, command, environment, forked
from tests.reading import manifest, read_json, read_jsonl

pytestmark = pytest.mark.slow

SLOWLY = ["engine.generation_sequences=1", "engine.save_steps=1", "engine.micro_batch_tokens=64"]
"""Many places to be killed at; the engine changes no result."""


@pytest.fixture(scope="module")
def overrides(smoke: list[str]) -> list[str]:
    more = [
        "dataset.limit=24",
        "dataset.test_samples=8",
        "distill.epochs=3",
        "model.student.finetune.epochs=4",
        "evaluate.targets=[distill]",
        "evaluate.likelihood=true",
    ]
    return [*smoke, *more, *SLOWLY]


@pytest.fixture(scope="module")
def straight(cli: Cli, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    cli("run", *overrides, cwd=folder)
    return folder / "outputs"


def progress(folder: Path) -> int:
    """How far a partial artefact has come: rows answered or training steps saved; 0 before it has begun."""
    for place in folder.glob("*.partial/*.progress.json"):
        return int(read_json(place)["items"])
    for state in folder.glob("*.partial/state.safetensors"):
        with safe_open(state, "pt") as file:
            return int(json.loads(file.metadata()["counters"])["step"])
    return 0


def kill_when(reached: Callable[[], bool], words: list[str], cwd: Path) -> bool:
    """Start a command and SIGKILL it once `reached`; whether it was killed before it ended."""
    process = forked(*words, cwd=cwd)
    limit = time.monotonic() + 200
    while process.is_alive() and time.monotonic() < limit:
        try:
            if reached():
                process.kill()
                break
        except (OSError, RuntimeError, json.JSONDecodeError):
            pass  # looked in the middle of a replacement
        time.sleep(0.002)
    process.join(timeout=30)
    return process.exitcode == -signal.SIGKILL


def assert_same(ours: Path, straight: Path, stage: str) -> None:
    """Every file of the stage's artefacts is the same, but for times of day and speeds."""
    compared = 0
    for folder in (path.parent for path in (ours / stage).glob("*/manifest.json")):
        reference = straight / stage / folder.name
        names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert names == {str(path.relative_to(reference)) for path in reference.rglob("*") if path.is_file()}
        for name in names - {"manifest.json"}:
            compared += 1
            if name == "metrics.jsonl":
                assert without_speed(folder / name) == without_speed(reference / name)
            else:
                assert (folder / name).read_bytes() == (reference / name).read_bytes(), f"{folder.name}/{name}"
        cost, expected = (manifest(place)["ledger"] for place in (folder, reference))
        for key in ("sample_passes", "training_tokens", "generated_tokens", "flops", "steps"):
            assert cost.get(key) == expected.get(key), key
    assert compared >= 1


def without_speed(path: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if k != "train/tokens_per_second"} for row in read_jsonl(path)]


@pytest.mark.parametrize(
    ("stage", "words", "points"),
    [
        ("finetune", ["finetune", "role=student"], [1, 20]),
        ("reflect", ["reflect"], [1, 20]),
        ("cache", ["cache"], [1, 12]),
        ("distill", ["distill"], [1, 8, 20]),
        ("evaluate", ["evaluate"], [1, 14]),
        ("likelihood", ["likelihood"], [1]),
    ],
)
def test_killed_at_several_points_equals_straight(
    cli: Cli, overrides: list[str], straight: Path, tmp_path: Path, stage: str, words: list[str], points: list[int]
) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(straight, outputs)
    for folder in [path for path in (outputs / stage).iterdir() if stage != "finetune" or path.is_dir()]:
        role = manifest(folder)["settings"].get("role") if folder.is_dir() else None
        if folder.is_dir() and role != "teacher":
            shutil.rmtree(folder)
    kills = 0
    for point in points:
        kills += kill_when(lambda point=point: progress(outputs / stage) >= point, [*words, *overrides], tmp_path)
    assert kills == len(points), "it must have been killed in the middle for the test to say anything"
    cli(*words, *overrides, cwd=tmp_path)
    assert_same(outputs, straight, stage)


def test_on_policy_distillation_killed_at_several_points_equals_straight(
    cli: Cli, overrides: list[str], straight: Path, tmp_path: Path
) -> None:
    data = [
        "method.student_data.replay_capacity=10",
        "method.student_data.adaptive=true",
        "method.student_data.loss_margin=0",
    ]
    words = ["distill", *overrides, "method=gkd", *data, "distill.handover=best", "distill.course=continue"]
    reference, ours = tmp_path / "reference", tmp_path / "ours"
    for folder in (reference, ours):
        shutil.copytree(straight, folder / "outputs")
        shutil.rmtree(folder / "outputs" / "distill")
    cli(*words, cwd=reference)
    kills = [
        kill_when(lambda point=point: progress(ours / "outputs/distill") >= point, words, ours) for point in (2, 9, 21)
    ]
    assert all(kills), "it must have been killed in the middle for the test to say anything"
    cli(*words, cwd=ours)
    assert_same(ours / "outputs", reference / "outputs", "distill")
    metrics = next((ours / "outputs/distill").glob("*/metrics.jsonl"))
    shares = [row["train/student_share"] for row in read_jsonl(metrics)]
    assert {0.0, 1.0} == set(shares)


@pytest.mark.parametrize("stage", ["samples", "rank", "filter", "partition"])
def test_a_quick_stage_killed_as_soon_as_it_begins_equals_straight(
    cli: Cli, overrides: list[str], straight: Path, tmp_path: Path, stage: str
) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(straight, outputs)
    shutil.rmtree(outputs / stage)
    words = ["reflect" if stage == "samples" else stage, *overrides]
    kill_when(lambda: any((outputs / stage).glob("*.partial")), words, tmp_path)
    cli(*words, cwd=tmp_path)
    assert_same(outputs, straight, stage)


def test_a_torn_last_line_is_dropped(cli: Cli, overrides: list[str], straight: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(straight, outputs)
    shutil.rmtree(outputs / "reflect")
    assert kill_when(lambda: progress(outputs / "reflect") >= 5, ["reflect", *overrides], tmp_path)
    rows = next((outputs / "reflect").glob("*.partial/*.unsorted.jsonl"))
    with rows.open("ab") as file:
        file.write(b'{"id": "0123')
    cli("reflect", *overrides, cwd=tmp_path)
    assert_same(outputs, straight, "reflect")


def test_an_interrupt_ends_with_130_and_the_same_command_continues(
    cli: Cli, overrides: list[str], straight: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(straight, outputs)
    shutil.rmtree(outputs / "distill")
    process = subprocess.Popen(
        command("distill", *overrides),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job is born deaf to interrupts
    )
    while progress(outputs / "distill") < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert messages.strip().splitlines()[-1] == "srd: interrupted; the same command continues"
    assert "continued" in cli("distill", *overrides, cwd=tmp_path).stderr
    assert_same(outputs, straight, "distill")
