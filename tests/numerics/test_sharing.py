"""Two processes do what one does: the same losses, the same weights, every row once and in its order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from srd.config import Distill, Engine, Generation, Method, Positions
from srd.distillation.cached import CachedTeacher
from srd.distillation.choosing import Chooser
from srd.distillation.fidelity import compare
from srd.distillation.loss import reference_loss
from srd.distillation.objective import objective
from srd.distillation.records import record_of
from srd.distillation.reference import reference_nll
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.errors import UserError
from srd.generation.answerer import answer
from srd.runtime import processes
from srd.stages.cache import build
from srd.training.order import PhaseWork
from srd.training.step import step_seed
from tests.reading import read_jsonl
from tests.small import encoded, model, tokenizer, training

pytestmark = pytest.mark.slow

ROWS, BATCH, EPOCHS = 7, 3, 3
"""The last step of an epoch has one row: one of two processes has none."""


def everything(folder: Path) -> dict[str, Any]:
    """What a stage does with a model, for one process or several: train, answer, score, cache."""
    torch.set_num_threads(1)
    rows, engine = encoded(ROWS), Engine(device="cpu", micro_batch_tokens=16, generation_sequences=2)
    net = model(vocabulary=len(tokenizer()), seed=2).requires_grad_(True)
    recipe = Distill(epochs=EPOCHS, batch_sequences=BATCH, learning_rate=1e-2)
    run = training(folder, net, recipe, engine)
    loss = reference_loss(len(tokenizer()), Engine(loss_positions=4))
    run.train([PhaseWork(rows, loss)], lambda count, note="": None)
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in net.parameters()])
    sampled = answer(net, rows, tokenizer(), Generation(temperature=1.0, max_new_tokens=6), [3] * len(rows), engine)
    processes.wait()
    build(net, rows, folder, record_of({"width": 16, "dtype": "float32"}, 300), engine, 0, 300)
    chosen = {str(settings): updates(folder / f"chosen-{number}", settings) for number, settings in enumerate(CHOICES)}
    return {
        "chosen": chosen,
        "weights": processes.merged([flat]),
        "share": processes.merged([row.id for row in processes.share(rows)]),
        "none": processes.merged(processes.share([])),
        "one": processes.merged(processes.share(["a"])),
        "answers": [given.ids for given in sampled],
        "nll": reference_nll(net, rows, tokenizer(), engine),
        "fidelity": compare(
            net, CachedTeacher(folder, len(tokenizer()), net.device), rows, 0, len(tokenizer()), engine
        ),
        "seed": processes.merged([step_seed(1, 2, processes.index())]),
    }


CHOICES = [
    {"policy": "top", "share": 0.3},
    {"policy": "top", "share": 0.3, "quota": "step"},
    {"policy": "threshold", "share": 0.3, "history": 20},
    {"policy": "sampled", "share": 0.3, "unbiased": True},
    {"policy": "top", "share": 0.3, "signal": "random"},
    {"policy": "adaptive", "share": 0.5, "signal": "hellinger", "loss_tolerance": 1e-4},
]
"""Policies that look at one sequence, at a whole step, at the steps before, at numbers drawn, at the loss."""


def updates(folder: Path, settings: dict[str, Any]) -> list[tuple[float, float, float]]:
    """Loss, gradient norm and chosen share of four steps of weighed samples, of which one of two processes has no part
    in the last."""
    engine = Engine(device="cpu", micro_batch_tokens=16, loss_positions=4)
    rows = [replace(row, weight=0.25 + 0.5 * number) for number, row in enumerate(encoded(ROWS))]
    chooser = Chooser(Positions(**settings), OnlineTeacher(model(seed=1), 300), 300, 4)
    student = model(seed=2).requires_grad_(True)
    run = training(folder, student, Distill(learning_rate=1e-2), engine, chooser=chooser)
    loss = objective(chooser.teacher, Method(divergence="forward_kl"), 300, engine, chooser)
    steps = [
        run.updater.step(some, loss, PhaseLoss(1.0, 0.2), 0.3) for some in (rows[:5], rows[2:], rows[::2], rows[-1:])
    ]
    return [(row["train/loss_nats"], row["train/gradient_norm"], row["train/chosen_share"]) for row in steps]


def fails(kind: str) -> None:
    """One rank fails; the others wait for it, in vain."""
    if processes.index() == 1:
        raise (
            UserError("no such thing")
            if kind == "user"
            else OSError(28, "No space left on device", "/full")
            if kind == "disk"
            else KeyError
        )
    processes.wait()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    return folder, everything(folder / "one"), processes.launch(2, everything, folder / "two")


def test_two_ranks_train_as_one(both: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    folder, one, two = both
    assert len(two["weights"]) == 2
    assert torch.equal(*two["weights"]), "the processes' weights are equal to the last bit"
    torch.testing.assert_close(two["weights"][0], one["weights"][0], rtol=1e-4, atol=1e-5)
    steps = [read_jsonl(folder / name / "metrics.jsonl") for name in ("one", "two")]
    assert len(steps[0]) == len(steps[1]) == 9
    for alone, shared in zip(*steps, strict=True):
        for key in ("train/loss_nats", "train/gradient_norm"):
            assert shared[key] == pytest.approx(alone[key], rel=1e-4), (key, alone["step"])
        assert shared["step"] == alone["step"]


def test_two_ranks_answer_score_and_cache_as_one(both: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    _, one, two = both
    assert len(one["answers"]) == len(one["nll"]) == ROWS
    assert two["answers"] == one["answers"]
    assert two["nll"] == pytest.approx(one["nll"], rel=1e-4)
    assert max(one["fidelity"].kl, two["fidelity"].kl) < 1e-9


def test_shares_come_back_in_order(both: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    _, _, two = both
    assert two["share"] == [row.id for row in encoded(ROWS)]
    assert (two["none"], two["one"]) == ([], ["a"])
    assert len(set(two["seed"])) == 2, "each rank drops out by itself"
    assert two["seed"][0] == step_seed(1, 2)


@pytest.mark.parametrize(("kind", "expected"), [("user", UserError), ("disk", OSError)])
def test_what_stops_one_rank_stops_all_and_is_told(kind: str, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        processes.launch(2, fails, kind)
    assert str(caught.value) == ("no such thing" if kind == "user" else "[Errno 28] No space left on device: '/full'")


def test_sums_go_in_buckets_of_one_kind() -> None:
    tensors = [
        torch.zeros(n, dtype=dtype)
        for n, dtype in [(3, torch.float32), (processes.BUCKET, torch.float32), (2, torch.float32), (2, torch.float64)]
    ]
    assert [[len(tensor) for tensor in bucket] for bucket in processes.buckets(tensors)] == [
        [3],
        [processes.BUCKET],
        [2],
        [2],
    ]
    assert [[len(tensor) for tensor in bucket] for bucket in processes.buckets(tensors[:1] * 3)] == [[3, 3, 3]]


def test_two_ranks_choose_the_positions_of_one(both: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    _, one, two = both
    assert one["chosen"].keys() == two["chosen"].keys()
    assert len(one["chosen"]) == len(CHOICES)
    for name, steps in one["chosen"].items():
        assert all(0 < share < 1 for _, _, share in steps), name
        for ours, theirs in zip(steps, two["chosen"][name], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4), name
