"""Divergences between teacher p and student q, one pure function each.

Every function takes log-probabilities `logp`, `logq` of shape [*pos, V] (natural log, float32 or
wider) and returns one value per position, [*pos], in nats (total variation: in [0, 1]). Each is zero
at p = q and non-negative elsewhere. A class of probability zero (-inf) adds nothing of its own; where
q is zero and p is not, the true value is infinite and a huge finite one is returned.

The published code trains with cross-entropy forms of the forward and skew forward KL: those equal the
divergence here plus the teacher's entropy, have the same gradient, but are not zero at equality.

Only tensor methods are used, so that names and parameters can be checked without loading torch.

In another trainer a divergence needs log-probabilities and nothing else of this package:

    >>> import torch
    >>> from srd.distillation.divergences import forward_kl, skew_reverse_kl
    >>> _ = torch.manual_seed(0)
    >>> teacher, student = torch.randn(2, 3, 50), torch.randn(2, 3, 50, requires_grad=True)
    >>> logp, logq = teacher.log_softmax(-1), student.log_softmax(-1)
    >>> forward_kl(logp, logq).shape  # one value a position, nats
    torch.Size([2, 3])
    >>> skew_reverse_kl(logp, logq, alpha=0.1).mean().backward()
    >>> bool(student.grad.isfinite().all()), float(forward_kl(logp, logp).abs().max())
    (True, 0.0)
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srd.errors import UserError, look_up
from srd.selection.importance import FLOOR

# The graph imports this file for names alone, so neither torch nor jaxtyping may be loaded; the tests check the shapes.
if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor


def _kl(loga: Float[Tensor, "*pos V"], logb: Float[Tensor, "*pos V"]) -> Float[Tensor, "*pos"]:
    """KL(a ‖ b) = Σ a (log a - log b) over the last axis."""
    # Where a class has no probability, 0 * (-inf - …) would be NaN; 0 * FLOOR is 0.
    loga, logb = loga.clamp(min=FLOOR), logb.clamp(min=FLOOR)
    return (loga.exp() * (loga - logb)).sum(-1)


def _kl_to_mixture(
    loga: Float[Tensor, "*pos V"], logb: Float[Tensor, "*pos V"], weight: float
) -> Float[Tensor, "*pos"]:
    """KL(a ‖ weight a + (1 - weight) b), exactly zero at a = b.

    With d = log b - log a it is -Σ a log(weight + (1 - weight) e^d); the logarithm is taken around
    one, and around e^d where that is larger, so that neither small masses nor equality lose digits.
    """
    loga, logb = loga.clamp(min=FLOOR), logb.clamp(min=FLOOR)
    if weight == 0:
        return _kl(loga, logb)
    if weight == 1:
        return 0 * (loga + logb).sum(-1)  # zero, and a gradient of zero
    d = logb - loga
    # Both are clamped on the side where the other is taken: `where` gives a gradient of 0 to what it leaves out, and 0
    # times the infinity that e^d would become is NaN.
    below = ((1 - weight) * d.clamp(max=0).expm1()).log1p()
    above = d + (weight * (-d.clamp(min=0)).expm1()).log1p()
    return -(loga.exp() * above.where(d > 0, below)).sum(-1)


def forward_kl(logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"]) -> Float[Tensor, "*pos"]:
    """KL(p ‖ q), the classic distillation loss (Hinton et al. 2015, arXiv 1503.02531, eq. 2)."""
    return _kl(logp, logq)


def reverse_kl(logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"]) -> Float[Tensor, "*pos"]:
    """KL(q ‖ p), mode-seeking (MiniLLM, arXiv 2306.08543, eq. 1)."""
    return _kl(logq, logp)


def symmetric_kl(
    logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"], weight: float = 0.9
) -> Float[Tensor, "*pos"]:
    """(1-w) KL(p ‖ q) + w KL(q ‖ p) (Jeffreys 1946 at w = ½; w = 0.9 in SRD's published code, where it is unused)."""
    return (1 - weight) * _kl(logp, logq) + weight * _kl(logq, logp)


def jensen_shannon(
    logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"], beta: float = 0.5
) -> Float[Tensor, "*pos"]:
    """β KL(p ‖ m) + (1-β) KL(q ‖ m) with m = βp + (1-β)q (GKD, arXiv 2306.13649, eq. 1)."""
    return beta * _kl_to_mixture(logp, logq, beta) + (1 - beta) * _kl_to_mixture(logq, logp, 1 - beta)


def total_variation(logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"]) -> Float[Tensor, "*pos"]:
    """½ Σ |p - q| (f-distill, arXiv 2307.15190)."""
    return 0.5 * (logp.exp() - logq.exp()).abs().sum(-1)


def skew_forward_kl(
    logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"], alpha: float = 0.1
) -> Float[Tensor, "*pos"]:
    """KL(p ‖ αp + (1-α)q) (DistiLLM, arXiv 2402.03898, eq. 4)."""
    return _kl_to_mixture(logp, logq, alpha)


def skew_reverse_kl(
    logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"], alpha: float = 0.1
) -> Float[Tensor, "*pos"]:
    """KL(q ‖ αq + (1-α)p) (DistiLLM, arXiv 2402.03898, section 3.1)."""
    return _kl_to_mixture(logq, logp, alpha)


def decoupled_kl(
    logp: Float[Tensor, "*pos V"],
    logq: Float[Tensor, "*pos V"],
    labels: Int[Tensor, "*pos"],
    alpha: float | Float[Tensor, "*pos"] = 1.0,
    beta: float = 8.0,
) -> Float[Tensor, "*pos"]:
    """α TCKD + β NCKD (DKD, arXiv 2203.08679, eq. 7): the KL of the label against all others, and that among the
    others; KL(p ‖ q) is TCKD + (1 - p(label)) NCKD."""
    at = labels.unsqueeze(-1)
    (p, p_others, logp), (q, q_others, logq) = (
        (log.gather(-1, at).squeeze(-1), others.logsumexp(-1), others - others.logsumexp(-1, keepdim=True))
        for log, others in ((log, log.scatter(-1, at, FLOOR)) for log in (logp.clamp(min=FLOOR), logq.clamp(min=FLOOR)))
    )
    target = p.exp() * (p - q) + p_others.exp() * (p_others - q_others)
    return alpha * target + beta * _kl(logp, logq)


def token_wise_kl(logp: Float[Tensor, "*pos V"], logq: Float[Tensor, "*pos V"]) -> Float[Tensor, "*pos"]:
    """Σ w p (log p - log q) + (1 - w) q (log q - log p) with w = p / (p + q), which has no gradient (ToDi, arXiv
    2505.16297): forward where the student has too little, reverse where it has too much."""
    logp, logq = logp.clamp(min=FLOOR), logq.clamp(min=FLOOR)
    gap = logp - logq
    weight = gap.detach().sigmoid()
    return ((weight * logp.exp() - (1 - weight) * logq.exp()) * gap).sum(-1)


@dataclass(frozen=True)
class Divergence:
    """A divergence and k of the factor τ^k before it, as SRD's published code has it (2 where it has none)."""

    function: Callable[..., Tensor]
    published_power: int
    reads_labels: bool = False
    """Whether the label at each position is among what it takes."""
    largest: float = 1.0
    """Of each parameter."""

    def __call__(
        self,
        logp: Float[Tensor, "*pos V"],
        logq: Float[Tensor, "*pos V"],
        labels: Int[Tensor, "*pos"] | None = None,
        **parameters: float | Float[Tensor, "*pos"],
    ) -> Float[Tensor, "*pos"]:
        """D at each position."""
        return self.function(logp, logq, *((labels,) if self.reads_labels else ()), **parameters)

    @property
    def parameters(self) -> list[str]:
        """Names of what it takes besides both distributions and labels."""
        return list(inspect.signature(self.function).parameters)[3 if self.reads_labels else 2 :]


DIVERGENCES: dict[str, Divergence] = {
    "forward_kl": Divergence(forward_kl, published_power=2),
    "reverse_kl": Divergence(reverse_kl, published_power=0),
    # Without a tempered form in the published code; as the forward KL, which it holds.
    "symmetric_kl": Divergence(symmetric_kl, published_power=2),
    "jensen_shannon": Divergence(jensen_shannon, published_power=2),
    "total_variation": Divergence(total_variation, published_power=0),
    "skew_forward_kl": Divergence(skew_forward_kl, published_power=0),
    "skew_reverse_kl": Divergence(skew_reverse_kl, published_power=2),
    "decoupled_kl": Divergence(decoupled_kl, published_power=2, reads_labels=True, largest=1000.0),
    "token_wise_kl": Divergence(token_wise_kl, published_power=2),
}
"""Divergences by name. The published powers are not the same for all: the gradients of some vanish as τ rises."""


def power_of(divergence: str, temperature_power: int | str) -> int:
    """k of the factor τ^k: the number given, or for "official" the divergence's published one."""
    return DIVERGENCES[divergence].published_power if temperature_power == "official" else int(temperature_power)


def check_parameters(name: str, parameters: dict[str, float]) -> None:
    """A `UserError` unless `name` is a divergence and `parameters` are its own, each in its range."""
    divergence = look_up(DIVERGENCES, name, "divergence")
    known, largest = divergence.parameters, divergence.largest
    for key, value in parameters.items():
        if key not in known:
            raise UserError(f"method.parameters.{key}: {name} takes {', '.join(known) or 'no parameters'}")
        if not 0 <= value <= largest:
            raise UserError(f"method.parameters.{key}={value}: expected a weight in [0, {largest:g}]")


def check_sparse(signal: str, divergence: str) -> None:
    """A `UserError` for a divergence that drawn classes say nothing about."""
    if DIVERGENCES[divergence].reads_labels:
        raise UserError(
            f"teacher.signal={signal}: method.divergence={divergence} reads the label's probability, which may not be "
            "among the classes that are kept; use teacher.signal=hidden or online"
        )
    if signal == "sampled" and divergence != "forward_kl":
        raise UserError(
            f"teacher.signal=sampled: method.divergence={divergence} reads the teacher's whole distribution; use "
            "teacher.signal=hidden, online or top, or method=fkl"
        )
