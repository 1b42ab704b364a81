"""What a killed run left is damaged: whatever the file and the damage, the next run ends as one that was never killed.

Killed first in the middle, then continued on remains of which one file is not as it was written.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from srd.config import Distill, Engine, Generation, Lora
from srd.distillation.loss import reference_loss
from srd.distillation.records import record_of
from srd.models.checkpoints import trainable
from srd.runtime import processes
from srd.stages.cache import PROGRESS, build
from srd.store.artefacts import Node, Work
from srd.store.files import tree_digest
from srd.store.partial import fill
from srd.store.remains import Vouched
from srd.store.rows import Sample
from srd.training.model_selection import DevSet, ModelSelection
from srd.training.order import PhaseWork
from tests.damage import DAMAGE, files_in
from tests.small import encoded, model, tokenizer, training


class Scored(DevSet):
    """A dev set by which later weights are better."""

    def score(self, student: Any, engine: Engine, metric: Any) -> float:
        return float(sum(p.detach().abs().sum() for name, p in student.named_parameters() if "lora_B" in name))


class Dies(BaseException):
    """Stands for a kill at that very place."""


def answered(folder: Path, dies_at: int = 0) -> dict[str, str]:
    """Rows of 11 items in batches of 3; what is left of them."""
    folder.mkdir(parents=True, exist_ok=True)
    calls = 0

    def compute(batch: list[int], tick: object) -> tuple[list[dict[str, int]], dict[str, float]]:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise Dies
        return [{"id": item, "value": item**2} for item in batch], {"tokens": len(batch)}

    work = Work(Node("reflect", 1, {}), folder, {})
    fill(work, "rows.jsonl", list(range(11)), 3, compute, lambda row: row["id"])
    assert work.ledger == {"tokens": 11}
    return {name: str(tree_digest(folder / name)) for name in work.leaves}


def cached(folder: Path, dies_at: int = 0) -> dict[str, str]:
    """Hidden states of 8 rows in several batches; what is left of them."""
    folder.mkdir(parents=True, exist_ok=True)
    teacher, calls = model(seed=1), 0

    def counted(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise Dies

    teacher.register_forward_pre_hook(counted)
    names = build(
        teacher,
        encoded(8),
        folder,
        record_of({"width": 16, "dtype": "float32"}, 300),
        Engine(micro_batch_tokens=16),
        0,
        300,
    )
    return {name: str(tree_digest(folder / name)) for name in names}


def trained(folder: Path, dies_at: int = 0) -> dict[str, str]:
    """An adapter trained for two phases, with dev answers, the best of each phase handed over; what is left of it."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Distill(epochs=2, batch_sequences=4, handover="best", dev_samples=2)
    net = trainable(model("llama", seed=2), Lora(rank=2), 1)
    run = training(folder, net, recipe, Engine(device="cpu", save_steps=1))
    dev = Scored([(Sample("0" * 16, "", "", "", "dev"), encoded(1)[0])], tokenizer(), Generation(), 1)
    selection = ModelSelection(run.state, dev, run.engine, recipe, 2)
    steps = run.state.counters.step

    def advance(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == dies_at:
            raise Dies

    phases = [PhaseWork(encoded(6), reference_loss(300)) for _ in range(2)]
    run.train(phases, advance, selection.end_epoch, selection.end_phase)
    names = ("best", "phase-0", "phase-1", "dev.jsonl")
    left = {name: str(tree_digest(folder / name)) for name in names}
    weights = torch.cat([p.detach().flatten() for p in run.state.parameters.values()])
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return left | {"weights": str(weights.tolist()), "losses": str([row["train/loss_nats"] for row in rows])}


WORK: dict[str, tuple[Callable[..., dict[str, str]], int, int]] = {
    "rows": (answered, 3, 2),
    "cache": (cached, 3, 2),
    "training": (trained, 7, 16),
}
"""A piece of work, the place at which it dies, and how many files it has left then."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, str]]]:
    """By name: what a death in the middle left, and what one go leaves."""
    found = {}
    for name, (make, dies_at, _) in WORK.items():
        folder = tmp_path_factory.mktemp(name)
        with pytest.raises(Dies):
            make(folder / "it.partial", dies_at)
        found[name] = (folder / "it.partial", make(folder / "straight" / "it.partial"))
    return found


@pytest.mark.parametrize("name", ["rows", "cache", pytest.param("training", marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", [*DAMAGE, "none", "exchanged"])
def test_damaged_remains_are_made_anew_to_the_same_bytes(
    killed: dict[str, tuple[Path, dict[str, str]]], tmp_path: Path, name: str, damage: str
) -> None:
    make, _, count = WORK[name]
    remains, straight = killed[name]
    victims = files_in(remains)
    assert len(victims) == count, victims
    for victim in victims if damage != "none" else victims[:1]:
        folder = tmp_path / victim.relative_to(remains).as_posix().replace("/", "-") / "it.partial"
        shutil.copytree(remains, folder)
        place = folder / victim.relative_to(remains)
        if damage == "exchanged":
            other = next(path for path in [*victims[::-1], victim] if path.read_bytes() != victim.read_bytes())
            place.write_bytes(other.read_bytes())
        elif damage != "none":
            DAMAGE[damage](place)
        assert make(folder) == straight, victim


def test_remains_of_another_artefact_are_not_taken(tmp_path: Path) -> None:
    """The whole folder exchanged: its digests agree with each other, and not with its place."""
    for name, (make, dies_at, _) in WORK.items():
        with pytest.raises(Dies):
            make(tmp_path / name / "one.partial", dies_at)
        straight = make(tmp_path / name / "two.partial")
        shutil.rmtree(tmp_path / name / "two.partial")
        (tmp_path / name / "one.partial").rename(tmp_path / name / "two.partial")
        assert make(tmp_path / name / "two.partial") == straight
    assert (tmp_path / "cache" / "two.partial" / PROGRESS).is_file()


def test_only_the_first_process_clears_the_place_of_what_is_written_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Vouched(tmp_path)
    beside.prepare("best").write_text("written by the first")
    monkeypatch.setattr(processes, "index", lambda: 1)
    assert beside.prepare("best").read_text() == "written by the first"
    monkeypatch.setattr(processes, "index", lambda: 0)
    assert not beside.prepare("best").exists()
