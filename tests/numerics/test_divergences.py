"""Every divergence is what its docstring says, to float64, and what the official code computes."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from srd.distillation.divergences import DIVERGENCES, check_parameters
from srd.errors import UserError
from tests.reading import read_json
from tests.small import divergence, mean_divergence

TEMPERATURES = (1.0, 1.5, 2.0)


def log_probabilities(seed: int, shape: tuple[int, ...] = (5, 11), scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(scale * torch.randn(shape, generator=generator, dtype=torch.float64), -1)


def reference(name: str, p: np.ndarray, q: np.ndarray, weight: float) -> np.ndarray:
    """The textbook sums, in probability space."""

    def kl(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a * np.log(a / b)).sum(-1)

    def decoupled(alpha: float, beta: float) -> np.ndarray:
        """Of class 0 against the others, and among them."""
        pair = [np.stack([d[:, 0], 1 - d[:, 0]], -1) for d in (p, q)]
        others = [d[:, 1:] / (1 - d[:, :1]) for d in (p, q)]
        return alpha * kl(pair[0], pair[1]) + beta * kl(others[0], others[1])

    def token_wise() -> np.ndarray:
        share = 1 / (1 + np.exp(-np.log(p / q)))
        return (share * p * np.log(p / q) + (1 - share) * q * np.log(q / p)).sum(-1)

    mixture = weight * p + (1 - weight) * q
    return {
        "decoupled_kl": lambda: decoupled(weight, 8.0),
        "token_wise_kl": token_wise,
        "forward_kl": lambda: kl(p, q),
        "reverse_kl": lambda: kl(q, p),
        "symmetric_kl": lambda: (1 - weight) * kl(p, q) + weight * kl(q, p),
        "jensen_shannon": lambda: weight * kl(p, mixture) + (1 - weight) * kl(q, mixture),
        "total_variation": lambda: 0.5 * np.abs(p - q).sum(-1),
        "skew_forward_kl": lambda: kl(p, mixture),
        "skew_reverse_kl": lambda: kl(q, weight * q + (1 - weight) * p),
    }[name]()


def parameters_of(name: str, weight: float) -> dict[str, float]:
    key = {
        "symmetric_kl": "weight",
        "jensen_shannon": "beta",
        "skew_forward_kl": "alpha",
        "skew_reverse_kl": "alpha",
        "decoupled_kl": "alpha",
    }.get(name)
    return {key: weight} if key else {}


def test_all_divergences_are_covered() -> None:
    assert len(DIVERGENCES) == 9
    assert all(entry.published_power in (0, 2) for entry in DIVERGENCES.values())


@pytest.mark.parametrize(("name", "weight"), product(DIVERGENCES, (0.1, 0.5, 0.9)))
def test_value_is_the_textbook_sum(name: str, weight: float) -> None:
    logp, logq = log_probabilities(1), log_probabilities(2)
    ours = divergence(name, logp, logq, **parameters_of(name, weight))
    assert ours.shape == (5,)
    np.testing.assert_allclose(ours, reference(name, logp.exp().numpy(), logq.exp().numpy(), weight), rtol=1e-10)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_zero_at_equality_and_positive_elsewhere(name: str) -> None:
    logp, logq = log_probabilities(1), log_probabilities(2)
    assert torch.all(divergence(name, logp, logp).abs() < 1e-15)
    assert torch.all(divergence(name, logp, logq) > 1e-3)


def test_the_label_s_part_and_the_others_make_up_the_forward_kl() -> None:
    """KL(p ‖ q) = TCKD + (1 - p(label)) NCKD (DKD, eq. 6)."""
    logp, logq, labels = log_probabilities(1), log_probabilities(2), torch.tensor([0, 3, 10, 5, 2])
    target, others = (divergence("decoupled_kl", logp, logq, labels, alpha=a, beta=1.0 - a) for a in (1.0, 0.0))
    share = 1 - logp.exp().gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(target + share * others, divergence("forward_kl", logp, logq))


def test_the_weights_of_the_token_wise_divergence_have_no_gradient() -> None:
    logp, logits = log_probabilities(1), torch.zeros(5, 11, dtype=torch.float64, requires_grad=True)
    logq = logits.log_softmax(-1)
    p, q = logp.exp(), logq.exp()
    fixed = (p / (p + q)).detach()
    written_out = (fixed * p * (logp - logq) + (1 - fixed) * q * (logq - logp)).sum()
    found = torch.autograd.grad(divergence("token_wise_kl", logp, logq).sum(), logits, retain_graph=True)[0]
    torch.testing.assert_close(found, torch.autograd.grad(written_out, logits)[0])


@pytest.mark.parametrize("name", sorted(DIVERGENCES.keys() - {"token_wise_kl"}))
def test_gradient_matches_finite_differences(name: str) -> None:
    logp = log_probabilities(1, (3, 5))
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: divergence(name, logp, torch.log_softmax(x, -1)).sum(), (logits,))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_impossible_classes_and_extreme_logits_stay_finite(name: str) -> None:
    teacher = torch.tensor([[1.0, -torch.inf, 2.0, 1e4], [3.0, -torch.inf, -1e4, 0.0]])
    student = torch.tensor([[0.5, -torch.inf, 1e4, -1e4], [0.0, 2.0, -torch.inf, -1e4]], requires_grad=True)
    value = divergence(name, torch.log_softmax(teacher, -1), torch.log_softmax(student, -1))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_class_impossible_for_both_adds_nothing(name: str) -> None:
    logp, logq = log_probabilities(1), log_probabilities(2)
    nothing = torch.full((5, 1), -torch.inf, dtype=torch.float64)
    wide = divergence(name, torch.cat([logp, nothing], -1), torch.cat([logq, nothing], -1))
    torch.testing.assert_close(wide, divergence(name, logp, logq))


GOLDEN = {
    "forward_kl": ("tem_forward_kl T={T}", {}, 2, "p"),
    "reverse_kl": ("tem_reverse_kl T={T}", {}, 0, None),
    "jensen_shannon": ("tem_js_distance T={T} lam=0.9", {"beta": 0.1}, 2, None),
    "total_variation": ("tem_tv_distance T={T}", {}, 0, None),
    "skew_forward_kl": ("tem_skewed_forward_kl T={T} lam=0.1", {"alpha": 0.1}, 0, "p"),
    "skew_reverse_kl": ("tem_skewed_reverse_kl T={T} lam=0.1", {"alpha": 0.1}, 2, None),
}


@pytest.mark.parametrize(("name", "temperature"), product(GOLDEN, TEMPERATURES))
def test_parity_with_the_official_code(shared: Path, name: str, temperature: float) -> None:
    arrays, values = (np.load(shared / "golden/divergences.npz"), read_json(shared / "golden/divergences.json"))
    teacher, student, labels = (torch.from_numpy(arrays[key]) for key in ("teacher_logits", "student_logits", "labels"))
    key, parameters, power, omitted_entropy = GOLDEN[name]
    mask = labels != -100
    ours = float(mean_divergence(teacher, student, mask, name, temperature, **parameters))
    assert ours == float(mean_divergence(teacher, student, mask, name, temperature, power, **parameters)), (
        "the official power is the default"
    )
    if omitted_entropy:
        logp = torch.log_softmax(teacher[mask] / temperature, -1)
        ours += float(-(logp.exp() * logp).sum(-1).mean()) * temperature**power
    assert ours == pytest.approx(values[key.format(T=temperature)], rel=1e-5)
    if temperature == 1:
        assert ours == pytest.approx(values[key.format(T="").replace("tem_", "").replace(" T=", "")], rel=1e-5)


def test_unknown_names_and_parameters_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'forward_kl'"):
        check_parameters("forward_k", {})
    with pytest.raises(UserError, match="takes beta"):
        check_parameters("jensen_shannon", {"alpha": 0.1})
    with pytest.raises(UserError, match=r"expected a weight in \[0, 1\]"):
        check_parameters("jensen_shannon", {"beta": 1.5})
