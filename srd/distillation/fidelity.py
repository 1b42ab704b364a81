"""How well stored states give the teacher's logits back, and how well they have to."""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from srd.config import Engine
from srd.distillation.hidden import STORED
from srd.errors import UserError


def roundoff(dtype: str, model: PreTrainedModel, engine: Engine) -> float:
    """Relative error of one rounding, in the coarsest type that states, weights or arithmetic have."""
    types = [STORED[dtype], model.dtype, getattr(torch, engine.precision)]
    return max(torch.finfo(kind).eps for kind in types) / 2


def check_fidelity(kl_nats: float, unit: float, dtype: str) -> None:
    """A `UserError` unless KL(online ‖ cached) is what rounding the states to `unit` (relative) can explain.

    A state's entries each err by up to `unit`, so a logit errs by about `unit` times the root of the sum of squares of
    their terms in it, which is taken to be at most 64; KL is half the variance of that, to second order. That is 3e-2
    nats in bfloat16 and 5e-4 in float16. Logits of the same float32 states differ by the order of their sums alone,
    for which 1e-5 is wide. Lost or broken states are off by nats.
    """
    bound = max(1e-5, (64 * unit) ** 2 / 2)
    if not kl_nats <= bound:  # also what is not a number
        wider = "" if dtype == "float32" else "teacher.dtype=float32, or "
        raise UserError(
            f"teacher.dtype={dtype}: KL(online ‖ cached) is {kl_nats:.1e} nats per token, expected at most "
            f"{bound:.0e}; use {wider}teacher.signal=online"
        )


def check_finite(hidden: Float[Tensor, "N H"], stored: Float[Tensor, "N H"], dtype: torch.dtype) -> None:
    """A `UserError` for hidden states that are no numbers, or that their storage type cannot hold."""
    if bool(torch.isfinite(stored).all()):
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
