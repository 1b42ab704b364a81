"""The loss taken chunk by chunk is the loss: same value, same gradient, for every divergence; memory follows the chunk."""

import pytest
import torch
from torch import Tensor

from srd.config import Method
from srd.divergences import DIVERGENCES
from srd.loss import cross_entropy, divergence_at, summed
from srd.models import head_logits, hidden_at
from srd.schedules import PhaseLoss
from srd.stages.distill import distillation
from srd.stages.finetune import reference_loss
from srd.teacher import Live
from srd.tokens import collate
from tests.small import SIZES, encoded, model


def gradient_of(net: torch.nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_chunks_change_neither_value_nor_gradient(name: str, temperature: float) -> None:
    batch, teacher, results = collate(encoded(8), 0), Live(model(seed=1), 300), []
    for chunk in (1, 4, 7, 1000):
        student = model(seed=2).requires_grad_(True)
        sums = distillation(teacher, Method(divergence=name), 300, chunk)(student, batch, PhaseLoss(temperature, 0.3))
        sums["loss"].backward()
        results.append(({key: float(value.detach()) for key, value in sums.items()}, gradient_of(student)))
    for values, gradient in results[:-1]:
        assert values == pytest.approx(results[-1][0], rel=1e-6)
        assert float((gradient - results[-1][1]).norm() / gradient.norm()) < 1e-6


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_chunked_loss_is_the_dense_one_in_float64(name: str) -> None:
    batch, teacher = collate(encoded(8), 0), model(seed=1).double()
    ours, theirs = model(seed=2).double().requires_grad_(True), model(seed=2).double().requires_grad_(True)
    distillation(Live(teacher, 300), Method(divergence=name), 300, 5)(ours, batch, PhaseLoss(1.5, 0.3))["loss"].backward()
    whole = [net(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[batch.supervised] for net in (teacher, theirs)]
    power = Method(divergence=name).power
    kd = divergence_at(whole[0].detach(), whole[1], name, 1.5, power).sum()
    ce = torch.nn.functional.cross_entropy(whole[1], batch.targets, reduction="sum")
    (0.3 * ce + 0.7 * kd).backward()
    difference = (gradient_of(ours) - gradient_of(theirs)).norm() / gradient_of(theirs).norm()
    assert float(difference) < 1e-6


def test_cross_entropy_alone_in_chunks() -> None:
    batch, gradients = collate(encoded(8), 0), []
    for chunk in (3, 1000):
        student = model(seed=2).requires_grad_(True)
        reference_loss(300, chunk)(student, batch, PhaseLoss())["loss"].backward()
        gradients.append(gradient_of(student))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", SIZES)
def test_the_body_is_back_in_its_place(kind: str) -> None:
    net, batch = model(kind), collate(encoded(3), 0)
    before = net(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    head_logits(net, hidden_at(net, batch), 300)
    with pytest.raises(RuntimeError):
        head_logits(net, torch.zeros(2, 3), 300)
    torch.testing.assert_close(net(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits, before)
    assert len(SIZES) == 7


def test_no_more_than_a_chunk_of_logits_is_ever_kept() -> None:
    sizes = []

    def parts(some: slice) -> dict[str, Tensor]:
        logits = hidden[some] @ head
        sizes.append(logits.shape[0])
        return {"loss": cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)).sum()}

    hidden, head = torch.randn(100, 8, requires_grad=True), torch.randn(8, 50, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        loss = summed(parts, 100, 16)["loss"]
        held = sum(numel for numel in kept if numel >= 16 * 50)
    loss.backward()
    assert held == 0, "between forward and backward no logits are held"
    assert max(sizes) == 16
    assert sum(sizes) == 200, "each position is computed once forward and once for the gradient"
