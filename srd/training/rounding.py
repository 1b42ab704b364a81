"""How much of a step half-precision weights can hold."""

import torch
from jaxtyping import Float
from torch import Tensor

from srd.runtime.progress import say

DIGITS = {torch.bfloat16: 8, torch.float16: 11}
"""Binary digits of a weight, the leading one included."""

TOLD = 0.01
"""Share of lost steps from which on it is said."""


def lost_share(weights: list[Float[Tensor, "*axes"]], step: float) -> float:
    """Share of the half-precision weights that a change of `step` leaves as they are."""
    lost = numel = 0
    for weight in weights:
        if weight.dtype in DIGITS:
            # A weight of m · 2^e with m in [1/2, 1) has neighbours 2^(e - digits) away, and less than half of that
            # rounds back to it.
            _, exponent = torch.frexp(weight.detach().float())
            lost += int((step < torch.exp2((exponent - DIGITS[weight.dtype] - 1).float())).sum())
        numel += weight.numel()
    return lost / numel


def say_lost_steps(weights: list[Float[Tensor, "*axes"]], learning_rate: float) -> None:
    """Tell how many weights are too coarse for an optimiser's step, which AdamW makes about as large as the learning
    rate."""
    share = lost_share(weights, learning_rate)
    if share >= TOLD:
        say(
            f"steps of learning_rate={learning_rate:g} are lost to rounding in {100 * share:.1f} % of the weights, "
            "which are half-precision; dtype=float32 beside engine.precision=bfloat16 keeps them, and so does lora.rank"
        )
