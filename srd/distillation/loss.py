"""Logits to loss: cross-entropy and distillation, summed over supervised positions, chunk by chunk.

Axes: *pos any positions, N supervised positions, n those of one chunk, H hidden size, V vocabulary.

    loss = α · CE + (1 - α) · τ^k · D(p_τ, q_τ)      (SRD, arXiv 2508.06135; k = `temperature_power`)

Sums and counts travel apart: the caller divides once, by the supervised tokens of the whole optimiser step, so that
the value does not depend on how the step is cut into micro-batches. Where samples have weights, both terms of a
position are multiplied by that of its sample before they are summed, and the count stays that of the tokens (see
`srd.training.step`). Outside of `srd`, in a notebook or another
trainer, logits at the supervised positions are all that is needed:

    >>> import torch
    >>> from srd.distillation.loss import distillation_loss
    >>> _ = torch.manual_seed(0)
    >>> teacher, student = torch.randn(5, 100), torch.randn(5, 100, requires_grad=True)
    >>> labels = torch.randint(100, (5,))
    >>> sums = distillation_loss(teacher, student, labels, "forward_kl", temperature=2.0, sft_weight=0.1)
    >>> (sums.loss / len(labels)).backward()
    >>> student.grad.shape, bool(sums.kd >= 0)
    (torch.Size([5, 100]), True)
    >>> round(float(distillation_loss(student, student, labels, "reverse_kl").kd.detach().abs()), 6)
    0.0
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from srd.config import DEFAULT_ENGINE, Engine, Method
from srd.distillation.chunks import LossSums, summed_by_chunks
from srd.distillation.divergences import DIVERGENCES, power_of
from srd.distillation.schedules import PhaseLoss
from srd.distillation.sparse import sparse_divergence_at
from srd.distillation.teacher import TeacherSignal
from srd.models.heads import head_logits, head_parameters, hidden_at
from srd.selection.classes import SparseTarget
from srd.text.batches import Batch

Objective = Callable[[nn.Module, Batch, PhaseLoss], LossSums]
"""Sums over a batch's supervised positions, under the loss settings of the moment."""


def distillation(teacher: TeacherSignal, method: Method, vocabulary: int, engine: Engine = DEFAULT_ENGINE) -> Objective:
    """`distillation_loss` summed over a batch's supervised positions."""
    losses = compiled_losses(engine)

    def loss_of(student: nn.Module, batch: Batch, settings: PhaseLoss) -> LossSums:
        # Read from the disk first: the copy to a GPU then runs beside the student's forward pass.
        states = teacher.states(batch)

        def chunk_sums(hidden: Float[Tensor, "n H"], chunk: slice) -> LossSums:
            return distillation_loss(
                teacher.target(states[chunk]),
                head_logits(student, hidden, vocabulary),
                batch.labels[chunk],
                str(method.divergence),
                settings.temperature,
                settings.sft_weight,
                method.temperature_power,
                batch.referenced[chunk],
                losses,
                weights_at(batch, chunk),
                **method.parameters,
            )

        return summed_by_chunks(chunk_sums, hidden_at(student, batch), head_parameters(student), engine.loss_positions)

    return loss_of


def reference_loss(vocabulary: int, engine: Engine = DEFAULT_ENGINE) -> Objective:
    """Cross-entropy with the reference, summed over a batch's supervised positions, nats."""
    losses = torch.compile(cross_entropy, dynamic=True) if engine.compile else cross_entropy

    def loss_of(model: nn.Module, batch: Batch, settings: PhaseLoss) -> LossSums:
        def chunk_sums(hidden: Float[Tensor, "n H"], chunk: slice) -> LossSums:
            ce = losses(head_logits(model, hidden, vocabulary), batch.labels[chunk])
            return LossSums(weighted(ce, weights_at(batch, chunk)).sum())

        return summed_by_chunks(chunk_sums, hidden_at(model, batch), head_parameters(model), engine.loss_positions)

    return loss_of


def distillation_loss(
    teacher_logits: Float[Tensor, "N V"] | SparseTarget,
    student_logits: Float[Tensor, "N V"],
    labels: Int[Tensor, " N"],
    divergence: str,
    temperature: float = 1.0,
    sft_weight: float = 0.0,
    temperature_power: int | str = "official",
    referenced: Bool[Tensor, " N"] | None = None,
    losses: "LossesAt | None" = None,
    weights: Float[Tensor, " N"] | None = None,
    **parameters: float,
) -> LossSums:
    """α·CE + (1-α)·τ^k·D(p_τ, q_τ) and its two terms, summed over positions, nats.

    α is `sft_weight`, τ the temperature, k `temperature_power` or SRD's published choice for the divergence. The
    cross-entropy is taken where `referenced` holds: not on what the student wrote itself. Both terms of a position are
    multiplied by its one of `weights`. `parameters` are the divergence's own. Without a position it is an
    `AssertionError`: a mean over nothing has no value.
    """
    assert len(labels) > 0, "no supervised position"
    power = power_of(divergence, temperature_power)
    kd, ce = (losses or losses_at)(teacher_logits, student_logits, labels, divergence, temperature, power, **parameters)
    # With α = 0 the cross-entropy is only logged: no gradient is formed that would be multiplied by zero.
    if sft_weight == 0:
        ce = ce.detach()
    # A position that the student wrote itself stays in the count that the caller divides by, and its divergence in the
    # sum: only its cross-entropy is gone, since there is no reference to compare with.
    if referenced is not None:
        ce = ce * referenced
    ce_sum, kd_sum = weighted(ce, weights).sum(), weighted(kd, weights).sum()
    return LossSums(sft_weight * ce_sum + (1 - sft_weight) * kd_sum, ce_sum, kd_sum)


def weighted(values: Float[Tensor, " N"], weights: Float[Tensor, " N"] | None) -> Float[Tensor, " N"]:
    """The values times their weights, where there are any."""
    return values if weights is None else values * weights


def weights_at(batch: Batch, positions: slice | Int[Tensor, " n"]) -> Float[Tensor, " n"] | None:
    """The weights of some of a batch's supervised positions, where it has weights."""
    return None if batch.weights is None else batch.weights[positions]


LossesAt = Callable[..., tuple[Tensor, Tensor]]
"""`losses_at`, or the same compiled."""


def compiled_losses(engine: Engine) -> LossesAt:
    """`losses_at`, compiled where the engine says so."""
    # Dynamic, because the number of positions changes from batch to batch: a graph for each would be compiled anew.
    return torch.compile(losses_at, dynamic=True) if engine.compile else losses_at


def losses_at(
    teacher: Float[Tensor, "N V"] | SparseTarget,
    student_logits: Float[Tensor, "N V"],
    labels: Int[Tensor, " N"],
    divergence: str,
    temperature: float | Float[Tensor, "N 1"],
    temperature_power: int,
    **parameters: float | Float[Tensor, " N"],
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """τ^k · D(p_τ, q_τ) and the cross-entropy of the student at each position, nats.

    The teacher is its logits, or some classes of its distribution at the same temperature. τ is one for all, or one for
    each position.
    """
    is_plain = not isinstance(temperature, Tensor) and temperature == 1
    logq = log_probabilities(student_logits, temperature)
    # At τ = 1 both come from one softmax of the student's logits, which is a third of this function's work. The
    # cross-entropy is never tempered (SRD, and Hinton et al. 2015), so at any other τ there are two.
    ce = nll(logq, labels) if is_plain else cross_entropy(student_logits, labels)
    if isinstance(teacher, SparseTarget):
        assert temperature == teacher.temperature, "what was stored at one temperature says nothing of another"
        values = sparse_divergence_at(teacher, logq, divergence, **parameters)  # pyright: ignore[reportArgumentType]
    else:
        values = DIVERGENCES[divergence](log_probabilities(teacher, temperature), logq, labels, **parameters)
    # Gradients through logits / τ shrink with τ, and those of a KL once more as both distributions flatten: k = 2
    # undoes that (Hinton et al. 2015, section 2). Published code has other k elsewhere, so it is a setting.
    factor = temperature.squeeze(-1) if isinstance(temperature, Tensor) else temperature
    return values if is_plain else values * factor**temperature_power, ce


def nll(log_probabilities: Float[Tensor, "N V"], labels: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """-log q(label) at each position, nats."""
    return -log_probabilities.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def cross_entropy(logits: Float[Tensor, "N V"], labels: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """-log q(label) at each position, nats; softmax in float32 or wider."""
    return torch.nn.functional.cross_entropy(widened(logits), labels, reduction="none")


def log_probabilities(
    logits: Float[Tensor, "*pos V"], temperature: float | Float[Tensor, "*pos 1"]
) -> Float[Tensor, "*pos V"]:
    """log softmax(logits / τ) over the last axis, in float32 or wider."""
    logits = widened(logits)
    # Not divided by one: that would be a copy of N x V numbers, and one more kept for the backward pass.
    is_plain = not isinstance(temperature, Tensor) and temperature == 1
    return torch.log_softmax(logits if is_plain else logits / temperature, dim=-1)


def widened(tensor: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """At least float32: half-precision log-softmax makes KL negative."""
    # Double stays double, so that tests can compare to more digits than a float32 softmax has.
    return tensor if tensor.dtype == torch.float64 else tensor.float()
