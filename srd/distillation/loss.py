"""Logits to loss: cross-entropy and distillation, summed over supervised positions, one reducer.

Axes: *pos any positions, N supervised positions, V vocabulary.

    loss = α · CE + (1 - α) · τ^k · D(p_τ, q_τ)      (SRD, arXiv 2508.06135; k = `temperature_power`)

Sums and counts travel apart: the caller divides once, by the supervised tokens of the whole optimiser
step, so that the value does not depend on how the step is cut into micro-batches.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from srd.config import DEFAULT_ENGINE, Engine, Method
from srd.distillation.divergences import DIVERGENCES, power_of
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import Signal
from srd.models.heads import head_logits, head_parameters, hidden_at
from srd.text.batches import Batch


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-log q(target) at each position: logits [N, V], targets [N] → [N], nats; softmax in float32 or wider."""
    return torch.nn.functional.cross_entropy(_wide(logits), targets, reduction="none")


def divergence_at(
    teacher_logits: Tensor,
    student_logits: Tensor,
    divergence: str,
    temperature: float,
    temperature_power: int,
    **parameters: float,
) -> Tensor:
    """τ^k · D(p_τ, q_τ) at each position: logits [*pos, V] twice → [*pos], nats; softmax in float32."""
    logp, logq = (log_probabilities(logits, temperature) for logits in (teacher_logits, student_logits))
    return DIVERGENCES[divergence](logp, logq, **parameters) * temperature**temperature_power


def losses_at(
    teacher_logits: Tensor,
    student_logits: Tensor,
    targets: Tensor,
    divergence: str,
    temperature: float,
    temperature_power: int,
    **parameters: float,
) -> tuple[Tensor, Tensor]:
    """`divergence_at` and `cross_entropy` of the student, each [N], nats: at τ = 1 from one softmax of its logits [N,
    V]."""
    if temperature != 1:
        values = divergence_at(teacher_logits, student_logits, divergence, temperature, temperature_power, **parameters)
        return values, cross_entropy(student_logits, targets)
    logp, logq = (log_probabilities(logits, 1.0) for logits in (teacher_logits, student_logits))
    return DIVERGENCES[divergence](logp, logq, **parameters), -logq.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """log softmax(logits / τ) over the last axis, in float32 or wider."""
    logits = _wide(logits)
    return torch.log_softmax(logits if temperature == 1 else logits / temperature, dim=-1)


def _wide(logits: Tensor) -> Tensor:
    """At least float32: half-precision log-softmax makes KL negative."""
    return logits if logits.dtype == torch.float64 else logits.float()


Parts = Callable[[Tensor, slice], dict[str, Tensor]]
"""From the hidden states [n, H] of some positions, and which they are, to sums over them: `loss`, and parts of it to
log."""


def summed(parts: Parts, hidden: Tensor, weights: list[nn.Parameter], chunk: int) -> dict[str, Tensor]:
    """The sums that `parts` gives for all of `hidden` [N, H], taken `chunk` positions at a time.

    So the largest thing that ever exists is of size chunk x V, whatever the batch. Each chunk's gradient is formed with
    its value, so that no logits are computed twice; `weights` are the parameters that `parts` uses. Only `loss` has a
    gradient.
    """
    if len(hidden) <= chunk:
        return parts(hidden, slice(0, len(hidden)))
    names: list[str] = []
    values = _Chunks.apply(parts, chunk, names, hidden, *weights)
    return dict(zip(names, values, strict=True))  # pyright: ignore[reportArgumentType]


class _Chunks(torch.autograd.Function):
    """Sums over chunks of positions; the forward pass leaves their gradient for the backward pass to scale."""

    @staticmethod
    def forward(
        ctx: Any, parts: Parts, chunk: int, names: list[str], hidden: Tensor, *weights: Tensor
    ) -> tuple[Tensor, ...]:  # pyright: ignore
        wanted = any(ctx.needs_input_grad)
        totals: dict[str, Tensor] = {}
        of_hidden: list[Tensor] = []
        of_weights: list[Tensor | None] = [None] * len(weights)
        for start in range(0, len(hidden), chunk):
            some = slice(start, start + chunk)
            with torch.set_grad_enabled(wanted):
                piece = hidden[some].detach().requires_grad_(wanted)
                sums = parts(piece, some)
            if wanted:
                gradient, *more = torch.autograd.grad(sums["loss"], [piece, *weights], allow_unused=True)
                of_hidden.append(gradient)
                of_weights = [_added(total, new) for total, new in zip(of_weights, more, strict=True)]
            totals = {name: value.detach() + totals.get(name, 0) for name, value in sums.items()}
        names += totals
        summed_up = (None if g is None else g.to(weight.dtype) for g, weight in zip(of_weights, weights, strict=True))
        ctx.gradients = (torch.cat(of_hidden), *summed_up) if wanted else ()
        ctx.loss = names.index("loss")
        ctx.mark_non_differentiable(*(value for name, value in totals.items() if name != "loss"))
        return tuple(totals.values())

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients, ctx.gradients = ctx.gradients, None
        return (None, None, None, *(None if g is None else g.mul_(upstream[ctx.loss]) for g in gradients))


def _added(total: Tensor | None, new: Tensor | None) -> Tensor | None:
    """The sum, in float32 or wider whatever the weights are."""
    return total if new is None else _wide(new) if total is None else total.add_(new)


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


Objective = Callable[[nn.Module, Batch, PhaseLoss], dict[str, Tensor]]
"""Sums over a batch's supervised positions: `loss` to differentiate, and parts of it to log."""


def distillation(teacher: Signal, method: Method, vocabulary: int, engine: Engine = DEFAULT_ENGINE) -> Objective:
    """α·CE + (1-α)·τ^k·D(p_τ, q_τ), summed over a batch's supervised positions, with both parts apart (nats).

    The cross-entropy is taken where there is a reference: not on what the student wrote itself.
    """
    losses = torch.compile(losses_at, dynamic=True) if engine.compile else losses_at

    def objective(student: nn.Module, batch: Batch, settings: PhaseLoss) -> dict[str, Tensor]:
        states = teacher.states(batch)  # from the disk, before the device has the student to do
        hidden = hidden_at(student, batch)

        def parts(piece: Tensor, some: slice) -> dict[str, Tensor]:
            logits = head_logits(student, piece, vocabulary)
            values, ce = losses(
                teacher.logits(states[some]),
                logits,
                batch.targets[some],
                str(method.divergence),
                settings.temperature,
                power_of(str(method.divergence), method.temperature_power),
                **method.parameters,
            )
            ce = ((ce if settings.sft_weight > 0 else ce.detach()) * batch.referenced[some]).sum()
            return {
                "loss": settings.sft_weight * ce + (1 - settings.sft_weight) * values.sum(),
                "ce": ce,
                "kd": values.sum(),
            }

        return summed(parts, hidden, head_parameters(student), engine.loss_positions)

    return objective
