"""How well a teacher cache gives the teacher back, and how well it has to.

Axes: N supervised positions, V vocabulary, S slots.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from transformers import PreTrainedModel

from srd.config import Engine
from srd.distillation.cached import CachedTeacher
from srd.distillation.divergences import forward_kl
from srd.distillation.records import EIGHT, STORED
from srd.errors import UserError
from srd.models.device import autocast
from srd.models.heads import logits_at
from srd.runtime import processes
from srd.runtime.progress import bar
from srd.selection.classes import SparseTarget
from srd.selection.importance import entropy
from srd.text.batches import collate
from srd.text.encoding import Encoded


@dataclass(frozen=True)
class Fidelity:
    """What was found on a slice of the samples, means over its positions."""

    kl: float
    """KL(online ‖ used), nats per token; of drawn classes KL(used ‖ online), since those not drawn have no chance."""
    drawn: bool = False
    kept: float | None = None
    """Of the teacher's probability, what lies on the classes that are kept."""
    entropy_error: float = 0.0
    """Of the stored entropy against the teacher's, nats: the record is that of this teacher and this position."""

    @property
    def text(self) -> str:
        """In words."""
        pair = "used ‖ online" if self.drawn else "online ‖ cached"
        kept = "" if self.kept is None else f", {100 * self.kept:.1f} % of the teacher's probability kept"
        return f"KL({pair}) {self.kl:.1e} nats per token{kept}"

    @property
    def ledger(self) -> dict[str, float]:
        """As the manifest has it."""
        kl = {"kl_used_online_nats" if self.drawn else "fidelity_kl_nats": self.kl}
        return kl if self.kept is None else {**kl, "kept_probability": self.kept}


def compare(
    model: PreTrainedModel, cache: CachedTeacher, rows: list[Encoded], pad: int, vocabulary: int, engine: Engine
) -> Fidelity:
    """The cache against the teacher itself over the supervised positions of `rows`, one row at a time."""
    values: list[list[list[float]]] = []
    drawn = False
    with bar("cache, check, tokens", sum(row.num_tokens for row in rows)) as advance:
        for row in processes.share(rows):
            batch = collate([row], pad).to(model.device)
            with torch.no_grad(), autocast(model.device, engine):
                online, target = logits_at(model, batch, vocabulary), cache.target(cache.states(batch))
            logp = torch.log_softmax(online.double(), -1)
            if isinstance(target, SparseTarget):
                drawn = target.drawn
                values.append(_of_classes(logp, target).tolist())
            else:
                values.append(forward_kl(logp, torch.log_softmax(target.double(), -1)).unsqueeze(1).tolist())
            advance(row.num_tokens * processes.count())
    every = torch.tensor([value for row in processes.merged(values) for value in row], dtype=torch.float64).mean(0)
    if len(every) == 1:
        return Fidelity(float(every[0]))
    return Fidelity(float(every[0]), drawn, float(every[1]), float(every[2]))


def _of_classes(logp: Float[Tensor, "N V"], target: SparseTarget) -> Float[Tensor, "N 3"]:
    """KL between what is used and what is online, the probability that is kept, and the error of the entropy."""
    tempered = (logp / target.temperature).log_softmax(-1)
    taken, used = tempered.gather(-1, target.ids), target.logs.double()
    in_use = used.isfinite()
    if target.drawn:
        kl = (used.exp() * (used - taken)).where(in_use, torch.zeros_like(used)).sum(-1)
    else:
        # The others are taken to share what is left evenly.
        others = logp.shape[-1] - target.ids.shape[-1]
        rest = target.rest.double() if target.rest is not None else torch.full_like(logp[:, 0], -torch.inf)
        whole = (rest - torch.tensor(max(1, others)).log()).unsqueeze(-1).expand_as(logp)
        kl = forward_kl(tempered, whole.scatter(-1, target.ids, used))
    kept = taken.exp().where(in_use, torch.zeros_like(taken)).sum(-1)
    return torch.stack([kl, kept, (entropy(logp) - target.known[0]).abs()], dim=1)


def roundoff(dtype: str, model: PreTrainedModel, engine: Engine) -> float:
    """Relative error of one rounding, in the coarsest type that states, weights or arithmetic have."""
    types = [STORED.get(dtype, EIGHT), model.dtype, getattr(torch, engine.precision)]
    return max(torch.finfo(kind).eps for kind in types) / 2


def check_fidelity(found: Fidelity, unit: float, dtype: str) -> None:
    """A `UserError` unless KL(online ‖ cached) is what rounding the states to `unit` (relative) can explain.

    A state's entries each err by up to `unit`, so a logit errs by about `unit` times the root of the sum of squares of
    their terms in it, which is taken to be at most 64; KL is half the variance of that, to second order. That is 3e-2
    nats in bfloat16 and 5e-4 in float16. Logits of the same float32 states differ by the order of their sums alone,
    for which 1e-5 is wide. Lost or broken states are off by nats, so 1 is the bound also in eight bits, where the rule
    would give 8.
    """
    kl_nats, bound = found.kl, min(1.0, max(1e-5, (64 * unit) ** 2 / 2))
    if found.kept is not None:  # classes are left out on purpose; what is stored of the whole must still be true
        if not found.entropy_error <= max(1e-3, 64 * unit):
            raise UserError(
                f"the teacher's stored entropies are off by {found.entropy_error:.1e} nats in the mean; delete the "
                "cache and make it again, or use teacher.signal=online"
            )
        return
    if not kl_nats <= bound:  # also what is not a number
        wider = "" if dtype == "float32" else "teacher.dtype=float32, or "
        raise UserError(
            f"teacher.dtype={dtype}: KL(online ‖ cached) is {kl_nats:.1e} nats per token, expected at most "
            f"{bound:.0e}; use {wider}teacher.signal=online"
        )


def check_finite(hidden: Float[Tensor, "N H"], stored: Shaped[Tensor, "N W"], dtype: torch.dtype) -> None:
    """A `UserError` for hidden states that are no numbers, or that their storage type cannot hold."""
    if bool(torch.isfinite(hidden if stored.dtype == torch.uint8 else stored).all()):
        return
    if not bool(torch.isfinite(hidden).all()):
        raise UserError(
            "model.teacher: its hidden states are not finite; look at its weights, or load them wider with "
            "model.teacher.dtype=float32"
        )
    name, largest = str(dtype).removeprefix("torch."), float(hidden.abs().max())
    raise UserError(
        f"teacher.dtype={name}: cannot hold the teacher's states (up to {largest:.3g}); use teacher.dtype=bfloat16 or "
        "float32, or teacher.signal=online"
    )
