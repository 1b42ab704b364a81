"""Logits to loss: cross-entropy and distillation, summed over supervised positions, one reducer.

Axes: *pos any positions, N supervised positions, V vocabulary.

    loss = α · CE + (1 - α) · τ^k · D(p_τ, q_τ)      (SRD, arXiv 2508.06135; k = `temperature_power`)

Sums and counts travel apart: the caller divides once, by the supervised tokens of the whole optimiser
step, so that the value does not depend on how the step is cut into micro-batches.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from srd.divergences import DIVERGENCES, power_of


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-log q(target) at each position: logits [N, V], targets [N] → [N], nats, float32."""
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def divergence_at(
    teacher_logits: Tensor, student_logits: Tensor, divergence: str, temperature: float, temperature_power: int, **parameters: float
) -> Tensor:
    """τ^k · D(p_τ, q_τ) at each position: logits [*pos, V] twice → [*pos], nats; softmax in float32."""
    logp = torch.log_softmax(_wide(teacher_logits) / temperature, dim=-1)
    logq = torch.log_softmax(_wide(student_logits) / temperature, dim=-1)
    return DIVERGENCES[divergence](logp, logq, **parameters) * temperature**temperature_power


def summed(parts: Callable[[slice], dict[str, Tensor]], positions: int, chunk: int) -> dict[str, Tensor]:
    """The sums that `parts` gives for `positions` positions, taken `chunk` at a time and computed again in the backward pass.

    So the largest thing that ever exists is of size chunk x V, whatever the batch.
    """
    if positions <= chunk:
        return parts(slice(0, positions))
    pieces = [
        checkpoint(parts, slice(start, start + chunk), use_reentrant=False, preserve_rng_state=False)
        for start in range(0, positions, chunk)
    ]
    return {name: torch.stack([piece[name] for piece in pieces]).sum() for name in pieces[0]}


def distillation_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    mask: Tensor,
    divergence: str,
    temperature: float = 1.0,
    temperature_power: int | str = "official",
    **parameters: float,
) -> Tensor:
    """Mean of τ^k · D(p_τ, q_τ) over the positions where `mask` holds: logits [*pos, V], mask [*pos] → [], nats.

    k is `temperature_power`, or SRD's published choice for the divergence where that is "official".
    Positions outside the mask touch neither value nor gradient, whatever they hold. An empty mask is an
    `AssertionError`: a mean over nothing has no value, and the collator never makes such a batch.
    """
    mask = mask.bool()
    assert mask.any(), "no supervised position in the batch"
    power = power_of(divergence, temperature_power)
    values = divergence_at(teacher_logits[mask], student_logits[mask], divergence, temperature, power, **parameters)
    return values.sum() / mask.sum()


def _wide(logits: Tensor) -> Tensor:
    """At least float32: half-precision log-softmax makes KL negative."""
    return logits if logits.dtype == torch.float64 else logits.float()
