"""The loss where only some classes of the teacher are known.

Axes: n positions, V vocabulary, S slots.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srd.distillation.divergences import DIVERGENCES
from srd.selection.classes import SparseTarget, collapsed
from srd.selection.importance import FLOOR


def sparse_divergence_at(
    target: SparseTarget, logq: Float[Tensor, "n V"], divergence: str, **parameters: float
) -> Float[Tensor, " n"]:
    """D(p_τ, q_τ) at each position, nats, from some classes of p_τ and all of log q_τ.

    Of drawn classes it is the estimate -Σ p̂ log q - H(p) of the forward KL, unbiased in value and gradient (RS-KD,
    arXiv 2503.16870), which may be negative at one position. Of the most probable ones it is the divergence between
    both distributions with all other classes taken as one.
    """
    if target.drawn:
        assert divergence == "forward_kl", divergence
        taken = logq.clamp(min=FLOOR).gather(-1, target.ids)
        return -(target.logs.exp() * taken).sum(-1) - target.entropy
    logs = target.logs if target.rest is None else torch.cat([target.logs, target.rest.unsqueeze(-1)], dim=-1)
    return DIVERGENCES[divergence](logs, collapsed(logq, target.ids), None, **parameters)
