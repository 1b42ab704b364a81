"""Weights of samples in the loss: Σ w_i Σ l_it / Σ n_i, however a step is cut (and shared, see `test_sharing`)."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srd.config import Engine, Method, Positions
from srd.distillation.choosing import Chooser
from srd.distillation.loss import Objective, cross_entropy, reference_loss
from srd.distillation.objective import objective
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.models.heads import logits_at
from srd.text.batches import collate
from srd.text.encoding import Encoded
from srd.training.student_data import _written
from tests.small import divergence_at, encoded, model, training

WEIGHTS = [0.25, 2.0, 1.0, 0.5, 1.75, 0.125, 1.375]
SETTINGS = PhaseLoss(2.0, 0.3)
KINDS = ["all", "chosen", "chosen, cross-entropy everywhere", "references"]
"""What has a loss: distillation at all positions or at chosen ones, supervised training."""


def weighed(weights: list[float]) -> list[Encoded]:
    return [replace(row, weight=weight) for row, weight in zip(encoded(len(weights)), weights, strict=True)]


def prepared(kind: str, chunk: int) -> tuple[Objective, Chooser | None]:
    teacher, engine = OnlineTeacher(model(seed=1), 300), Engine(device="cpu", loss_positions=chunk)
    if kind == "references":
        return reference_loss(300, engine), None
    everywhere = "all" if "everywhere" in kind else "chosen"
    positions = Positions(policy="top", share=0.4, cross_entropy=everywhere)
    chooser = Chooser(positions, teacher, 300, chunk) if kind.startswith("chosen") else None
    return objective(teacher, Method(), 300, engine, chooser), chooser


def step(folder: Path, rows: list[Encoded], kind: str, tokens: int = 1000, chunk: int = 7) -> dict[str, torch.Tensor]:
    """The step's mean losses, and the gradient that they leave."""
    loss, chooser = prepared(kind, chunk)
    student = model(seed=2).requires_grad_(True)
    engine = Engine(device="cpu", micro_batch_tokens=tokens)
    run = training(folder, student, engine=engine, chooser=chooser)
    sums = run.updater.gradients(rows, loss, SETTINGS, 0.5)
    gradient = torch.cat([p.grad.flatten() for p in run.state.parameters.values() if p.grad is not None])
    return {**sums.means, "gradient": gradient}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_weights_are_no_weights_to_the_last_bit(tmp_path: Path, kind: str) -> None:
    """Also where they are computed with, as in a batch that has other weights besides."""
    plain = step(tmp_path / "plain", encoded(7), kind)
    ones = step(tmp_path / "ones", weighed([1.0] * 7), kind)
    assert plain.keys() == ones.keys()
    assert all(torch.equal(value, ones[name]) for name, value in plain.items())
    batch = collate(encoded(7), 0)
    assert batch.weights is None
    loss, chooser = prepared(kind, 7)
    if chooser is not None:
        return
    net = model(seed=2)
    computed = loss(net, replace(batch, weights=torch.ones(len(batch.labels))), SETTINGS)
    for name, value in loss(net, batch, SETTINGS).by_name().items():
        assert torch.equal(value, computed.by_name()[name])


@pytest.mark.parametrize("chunk", [3, 1000])
def test_the_loss_and_its_gradient_are_those_of_float64_by_hand(tmp_path: Path, chunk: int) -> None:
    rows = weighed(WEIGHTS)
    found = step(tmp_path, rows, "all", tokens=40, chunk=chunk)
    student, teacher = model(seed=2).double().requires_grad_(True), model(seed=1).double()
    count, kd, ce = sum(row.num_supervised for row in rows), torch.zeros(()).double(), torch.zeros(()).double()
    for row, weight in zip(rows, WEIGHTS, strict=True):
        batch = collate([row], 0)
        p, q = logits_at(teacher, batch, 300).detach(), logits_at(student, batch, 300)
        kd = kd + weight * divergence_at(p, q, "forward_kl", 2.0, 2).sum() / count
        ce = ce + weight * cross_entropy(q, batch.labels).sum() / count
    expected = 0.3 * ce + 0.7 * kd
    expected.backward()
    values = {"loss": expected, "kd": kd, "ce": ce}
    assert {name: float(found[name]) for name in values} == pytest.approx(
        {name: float(value.detach()) for name, value in values.items()}, rel=1e-5
    )
    gradient = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
    torch.testing.assert_close(found["gradient"].double(), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cut_of_a_step_changes_nothing(tmp_path: Path, kind: str) -> None:
    rows = weighed(WEIGHTS)
    whole = step(tmp_path / "whole", rows, kind)
    for tokens, chunk in ((1, 2), (24, 1000)):
        cut = step(tmp_path / f"{tokens}", rows, kind, tokens, chunk)
        assert cut.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(cut[name], value, rtol=1e-4, atol=1e-6, msg=f"{name} {tokens}")
    assert not torch.allclose(whole["loss"], step(tmp_path / "plain", encoded(7), kind)["loss"], rtol=1e-3)


@pytest.mark.parametrize("kind", ["all", "references"])
def test_padding_on_either_side_changes_nothing(kind: str) -> None:
    loss, _ = prepared(kind, 5)
    right, left = (loss(model(seed=2), collate(weighed(WEIGHTS), 0, side), SETTINGS) for side in ("right", "left"))
    assert float(left.loss.detach()) == pytest.approx(float(right.loss.detach()), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_scales_the_gradient_of_its_sample_and_no_other(tmp_path: Path, kind: str) -> None:
    """Alone in its step as well: there a division by the weights would undo it."""
    row = encoded(1)
    one, three = step(tmp_path / "one", row, kind), step(tmp_path / "three", [replace(row[0], weight=3.0)], kind)
    torch.testing.assert_close(three["gradient"], 3 * one["gradient"], rtol=1e-4, atol=1e-6)
    rows, parts = weighed(WEIGHTS[:3]), []
    for number in range(3):
        weights = [WEIGHTS[number] if i == number else 0.0 for i in range(3)]
        parts.append(step(tmp_path / f"part {number}", weighed(weights), kind)["gradient"])
    torch.testing.assert_close(sum(parts), step(tmp_path / "all", rows, kind)["gradient"], rtol=1e-4, atol=1e-6)


def test_what_the_student_writes_keeps_the_weight_of_its_prompt() -> None:
    assert _written(weighed([0.5])[0], [5, 6, 1]).weight == 0.5
