"""The loss taken chunk by chunk is the loss: same value, same gradient, for every divergence; memory follows the
chunk."""

import shutil

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from srd.config import Engine, Method
from srd.distillation.chunks import LossSums, summed_by_chunks
from srd.distillation.divergences import DIVERGENCES, power_of
from srd.distillation.loss import distillation, losses_at, reference_loss
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.models.heads import head_logits, head_parameters, hidden_at
from srd.text.batches import collate
from tests.small import SIZES, divergence_at, encoded, model

COMPILING = "ignore:The .grad attribute of a Tensor"
"""torch looks at it while it compiles."""
NEEDS_COMPILER = pytest.mark.skipif(
    shutil.which("g++") is None, reason="no C++ compiler: torch.compile cannot be tried"
)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check of types and shapes: users compile the loss without it, and torch cannot trace it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def gradient_of(net: torch.nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_chunks_change_neither_value_nor_gradient(name: str, temperature: float) -> None:
    batch, teacher, results = collate(encoded(8), 0), OnlineTeacher(model(seed=1), 300), []
    for chunk in (1, 4, 7, 1000):
        student = model(seed=2).requires_grad_(True)
        sums = distillation(teacher, Method(divergence=name), 300, Engine(loss_positions=chunk))(
            student, batch, PhaseLoss(temperature, 0.3)
        )
        sums.loss.backward()
        results.append(({key: float(value.detach()) for key, value in sums.by_name().items()}, gradient_of(student)))
    for values, gradient in results[:-1]:
        assert values == pytest.approx(results[-1][0], rel=1e-6)
        assert float((gradient - results[-1][1]).norm() / gradient.norm()) < 2e-6


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_chunked_loss_is_the_dense_one_in_float64(name: str) -> None:
    batch, teacher = collate(encoded(8), 0), model(seed=1).double()
    ours, theirs = model(seed=2).double().requires_grad_(True), model(seed=2).double().requires_grad_(True)
    distillation(OnlineTeacher(teacher, 300), Method(divergence=name), 300, Engine(loss_positions=5))(
        ours, batch, PhaseLoss(1.5, 0.3)
    ).loss.backward()
    whole = [
        net(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[batch.supervised]
        for net in (teacher, theirs)
    ]
    power = power_of(name, "official")
    kd = divergence_at(whole[0].detach(), whole[1], name, 1.5, power, batch.labels).sum()
    ce = torch.nn.functional.cross_entropy(whole[1], batch.labels, reduction="sum")
    (0.3 * ce + 0.7 * kd).backward()
    difference = (gradient_of(ours) - gradient_of(theirs)).norm() / gradient_of(theirs).norm()
    assert float(difference) < 1e-6


def test_cross_entropy_alone_in_chunks() -> None:
    batch, gradients = collate(encoded(8), 0), []
    for chunk in (3, 1000):
        student = model(seed=2).requires_grad_(True)
        reference_loss(300, Engine(loss_positions=chunk))(student, batch, PhaseLoss()).loss.backward()
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


def test_no_more_than_a_chunk_of_logits_is_ever_kept_and_none_is_computed_twice() -> None:
    """Against the dense sum in float64, with a scale after it, for a head that is trained and one that is frozen."""
    for trained in (True, False):
        sizes: list[int] = []
        torch.manual_seed(0)
        hidden, head = (
            torch.randn(100, 8, dtype=torch.float64, requires_grad=True),
            nn.Parameter(torch.randn(8, 50).double(), trained),
        )

        def chunk_sums(states: Tensor, chunk: slice, head: Tensor = head, sizes: list[int] = sizes) -> LossSums:
            logits = states @ head
            sizes.append(len(logits))
            loss = -torch.log_softmax(logits, -1)[:, 3].sum()
            return LossSums(loss, kd=loss.detach() * 0 + len(logits))

        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: (kept.append(t.numel()), t)[1], lambda t: t):
            sums = summed_by_chunks(chunk_sums, hidden, [head] if trained else [], 16)
        # What the chunks' own little graphs keep is gone before the next chunk.
        assert max(kept) == 16 * 50
        assert sizes == [16] * 6 + [4]
        assert float(sums.kd) == 100
        assert not sums.kd.requires_grad
        (0.37 * sums.loss).backward()
        assert sizes == [16] * 6 + [4], "nothing is computed again"
        dense = [tensor.detach().clone().requires_grad_() for tensor in (hidden, head)]
        whole = -torch.log_softmax(dense[0] @ dense[1], -1)[:, 3].sum()
        (0.37 * whole).backward()
        assert float(sums.loss.detach()) == pytest.approx(float(whole.detach()), rel=1e-12)
        torch.testing.assert_close(hidden.grad, dense[0].grad, rtol=1e-10, atol=1e-12)
        if trained:
            torch.testing.assert_close(head.grad, dense[1].grad, rtol=1e-10, atol=1e-12)


def test_the_head_s_parameters_are_those_outside_the_body() -> None:
    for kind, more, count in (
        ("llama", {}, 1),
        ("llama", {"tie_word_embeddings": True}, 1),
        ("gpt2", {}, 1),
        ("phi", {}, 2),
    ):
        net = model(kind, **more).requires_grad_(True)
        found = head_parameters(net)
        assert len(found) == count, kind
        assert found[-1] is net.get_output_embeddings().weight or found[0] is net.get_output_embeddings().weight
        assert not head_parameters(net.requires_grad_(False))


@pytest.mark.slow
@pytest.mark.filterwarnings(COMPILING)
@NEEDS_COMPILER
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "temperature", "chunk"), [("forward_kl", 1.0, 1000), ("skew_reverse_kl", 2.0, 7)])
def test_the_compiled_loss_is_the_loss(name: str, temperature: float, chunk: int) -> None:
    batch, teacher, results = collate(encoded(8), 0), OnlineTeacher(model(seed=1), 300), []
    for compiled in (False, True):
        student = model(seed=2).requires_grad_(True)
        objective = distillation(teacher, Method(divergence=name), 300, Engine(loss_positions=chunk, compile=compiled))
        sums = objective(student, batch, PhaseLoss(temperature, 0.3))
        sums.loss.backward()
        results.append((float(sums.kd.detach()), gradient_of(student)))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    assert float((results[1][1] - results[0][1]).norm() / results[0][1].norm()) < 1e-5
    assert sum(torch._dynamo.utils.counters["stats"].values()) > 0, "something has been compiled"  # pyright: ignore


@pytest.mark.slow
@pytest.mark.filterwarnings(COMPILING)
@NEEDS_COMPILER
@pytest.mark.usefixtures("unchecked")
def test_a_class_without_probability_is_compiled_as_well() -> None:
    logits = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    logits[0, :, 3] = -torch.inf
    student = logits[1].requires_grad_(True)
    values, _ = torch.compile(losses_at, dynamic=True)(
        logits[0], student, torch.tensor([0, 1, 2, 4, 5]), "forward_kl", 1.0, 2
    )
    expected, _ = losses_at(logits[0], student, torch.tensor([0, 1, 2, 4, 5]), "forward_kl", 1.0, 2)
    (gradient,) = torch.autograd.grad(values.sum(), student)
    assert gradient.isfinite().all()
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-6)
