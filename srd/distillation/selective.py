"""Distillation at chosen positions.

Axes: N supervised positions of a batch, n chosen ones, H hidden size, V vocabulary.

First the student's body runs with gradient; then its head, without, wherever a signal asks for it, a chunk of positions
at a time; last both heads with gradient, at chosen positions alone. Nothing of size N x V exists, and a teacher whose
distribution no signal reads is asked for nothing but the chosen positions.
"""

from jaxtyping import Float
from torch import Tensor, nn

from srd.config import DEFAULT_ENGINE, Engine, Method
from srd.distillation.choosing import Chooser
from srd.distillation.chunks import LossSums, summed_by_chunks
from srd.distillation.divergences import power_of
from srd.distillation.loss import Objective, compiled_losses, cross_entropy, weighted, weights_at
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import TeacherSignal
from srd.models.heads import head_logits, head_parameters, hidden_at
from srd.text.batches import Batch


def selective_distillation(
    teacher: TeacherSignal, method: Method, chooser: Chooser, vocabulary: int, engine: Engine = DEFAULT_ENGINE
) -> Objective:
    """α · CE + (1 - α) · τ^k · D with D's mean over the chosen positions of the step by their weights, and the mean
    cross-entropy over the same or over all (`selection.positions.cross_entropy`), each position times the weight of its
    sample; as sums that are to be divided by all
    supervised positions of the step."""
    losses, power = compiled_losses(engine), power_of(str(method.divergence), method.temperature_power)

    def loss_of(student: nn.Module, batch: Batch, settings: PhaseLoss) -> LossSums:
        states, hidden = teacher.states(batch), hidden_at(student, batch)
        chosen = chooser.of(batch, student, hidden.detach(), states)
        index = chosen.index
        weights = weighted(chosen.weights * chooser.scale, weights_at(batch, index))
        alpha, divergence = settings.sft_weight, str(method.divergence)
        is_everywhere = chooser.settings.cross_entropy == "all"
        labels, referenced, states = batch.labels[index], batch.referenced[index], states[index]

        def chosen_sums(some: Float[Tensor, "n H"], chunk: slice) -> LossSums:
            target, logits = teacher.target(states[chunk]), head_logits(student, some, vocabulary)
            temperature, parameters = settings.temperature, method.parameters
            if chosen.warmth is not None:
                temperature = temperature * chosen.warmth[chunk].unsqueeze(1)
            if chosen.hard is not None:  # easy positions learn what the others are, not the label
                parameters = {**parameters, "alpha": parameters.get("alpha", 1.0) * chosen.hard[chunk]}
            kd, ce = losses(target, logits, labels[chunk], divergence, temperature, power, **parameters)
            kd_sum = (kd * weights[chunk]).sum()
            if is_everywhere:
                return LossSums((1 - alpha) * kd_sum, kd=kd_sum)
            ce = ce.detach() if alpha == 0 else ce
            ce_sum = (ce * weights[chunk] * referenced[chunk]).sum()
            return LossSums(alpha * ce_sum + (1 - alpha) * kd_sum, ce_sum, kd_sum)

        def every_sum(some: Float[Tensor, "n H"], chunk: slice) -> LossSums:
            ce = cross_entropy(head_logits(student, some, vocabulary), batch.labels[chunk])
            return LossSums(weighted(ce * batch.referenced[chunk], weights_at(batch, chunk)).sum())

        head = head_parameters(student)
        if len(index) > 0:
            sums = summed_by_chunks(chosen_sums, hidden[index], head, engine.loss_positions)
        else:  # the step's positions lie in other sequences; the pass takes part in its gradient all the same
            nothing = hidden.sum() * 0
            sums = LossSums(nothing, None if is_everywhere else nothing.detach(), nothing.detach())
        # With α = 0 it would only be logged, for the price of a head pass over all positions.
        if not is_everywhere or alpha == 0:
            return sums
        ce_sum = summed_by_chunks(every_sum, hidden, head, engine.loss_positions).loss
        return LossSums(sums.loss + alpha * ce_sum, ce_sum.detach(), sums.kd)

    return loss_of
