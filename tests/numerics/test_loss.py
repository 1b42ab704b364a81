"""The loss over a batch: one reducer, no trace of padding, micro-batches or masked positions."""

from pathlib import Path

import pytest
import torch

from srd.config import Engine, Method
from srd.distillation.divergences import DIVERGENCES
from srd.distillation.loss import cross_entropy, distillation, losses_at
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.models.heads import logits_at
from srd.text.batches import collate
from tests.small import divergence_at, encoded, mean_divergence, model, random_logits, training


@pytest.mark.parametrize("name", DIVERGENCES)
def test_masked_positions_do_not_matter(name: str) -> None:
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(5)) < 0.6
    teacher, student = random_logits(1), random_logits(2)
    noisy = torch.where(mask.unsqueeze(-1), student, torch.full_like(student, torch.nan))
    assert mean_divergence(teacher, noisy, mask, name) == mean_divergence(teacher, student, mask, name)


def test_temperature_power_two_keeps_the_gradient_of_forward_kl_from_vanishing() -> None:
    def norm(temperature: float, power: int) -> float:
        student = random_logits(2).requires_grad_()
        mean_divergence(random_logits(1), student, torch.ones(4, 6), "forward_kl", temperature, power).backward()
        assert student.grad is not None
        return float(student.grad.norm())

    assert norm(8.0, 2) > 0.5 * norm(1.0, 2)
    assert norm(8.0, 0) < 0.05 * norm(1.0, 0)


def test_the_loss_is_the_declared_mixture_over_all_tokens_of_the_step(tmp_path: Path) -> None:
    rows, teacher, student = encoded(6), model(seed=1), model(seed=2).requires_grad_(True)
    objective = distillation(OnlineTeacher(teacher, 300), Method(), 300)
    run = training(tmp_path, student, engine=Engine(device="cpu", micro_batch_tokens=40))
    sums = run.updater.accumulate(rows, objective, PhaseLoss(2.0, 0.3), 1)
    batch = collate(rows, 0)
    p, q = logits_at(teacher, batch, 300).detach().double(), logits_at(student, batch, 300).detach().double()
    kd, ce = divergence_at(p, q, "forward_kl", 2.0, 2).mean(), cross_entropy(q, batch.labels).mean()
    assert float(sums.means["loss"]) == pytest.approx(float(0.3 * ce + 0.7 * kd), rel=1e-5)
    assert float(sums.means["kd"]) == pytest.approx(float(kd), rel=1e-5)
    assert float(sums.means["ce"]) == pytest.approx(float(ce), rel=1e-5)


def test_student_equal_to_teacher_has_no_loss_to_distil() -> None:
    net = model(seed=1)
    for name in DIVERGENCES:
        sums = distillation(OnlineTeacher(net, 300), Method(divergence=name), 300)(
            net, collate(encoded(), 0), PhaseLoss(2.0, 0.0)
        )
        assert float(sums.loss.detach()) == 0


@pytest.mark.parametrize("temperature", [1.0, 1.5])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_one_softmax_for_both_losses_changes_neither(name: str, temperature: float) -> None:
    generator = torch.Generator().manual_seed(4)
    p, q = (4 * torch.randn(7, 50, generator=generator, dtype=torch.float64) for _ in range(2))
    targets, q_alone = torch.arange(7), q.clone().requires_grad_()
    values, ce = losses_at(p, q.requires_grad_(), targets, name, temperature, 2)
    (values + 0.4 * ce).sum().backward()
    apart = (
        divergence_at(p, q_alone, name, temperature, 2, targets),
        torch.nn.functional.cross_entropy(q_alone, targets, reduction="none"),
    )
    (apart[0] + 0.4 * apart[1]).sum().backward()
    for ours, theirs in ((values, apart[0]), (ce, apart[1]), (q.grad, q_alone.grad)):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
