"""The loss of many positions, a chunk at a time: logits of size N x V never exist.

Axes: N supervised positions, n those of one chunk, H hidden size, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class LossSums:
    """Sums over positions, nats: the loss to differentiate, and its two terms, which are logged."""

    loss: Float[Tensor, ""]
    ce: Float[Tensor, ""] | None = None
    kd: Float[Tensor, ""] | None = None

    def by_name(self) -> dict[str, Tensor]:
        """What there is of loss, ce and kd."""
        return {name: value for name, value in vars(self).items() if value is not None}


ChunkSums = Callable[[Float[Tensor, "n H"], slice], LossSums]
"""From the hidden states of a chunk of positions, and which positions they are, to the sums over them."""


def summed_by_chunks(
    chunk_sums: ChunkSums, hidden: Float[Tensor, "N H"], weights: list[nn.Parameter], size: int
) -> LossSums:
    """What `chunk_sums` gives for all of `hidden`, taken `size` positions at a time.

    So the largest thing that ever exists is of size n x V, whatever the batch. `weights` are the parameters that
    `chunk_sums` uses. Of several chunks only `loss` has a gradient.
    """
    if len(hidden) <= size:
        return chunk_sums(hidden, slice(0, len(hidden)))
    # `weights` are arguments although `chunk_sums` reaches them by itself: autograd sends a gradient only to tensors
    # that a Function was called with.
    return LossSums(*_Chunks.apply(chunk_sums, size, hidden, *weights))  # pyright: ignore[reportArgumentType]


class _Chunks(torch.autograd.Function):
    """Sums over chunks of positions, whose gradient is formed in the forward pass.

    Autograd would keep the logits of every chunk for the backward pass, which is what chunks are there to avoid;
    checkpointing would compute each chunk's logits twice. Here a chunk's gradient is formed while its logits exist,
    with respect to its hidden states [n, H] and to the head's weights, and only that is kept. The loss is a sum, so
    the backward pass has nothing to do but to scale it by the one number that arrives from above.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, chunk_sums: ChunkSums, size: int, hidden: Tensor, *weights: Tensor
    ) -> tuple[Tensor | None, ...]:
        # Under no_grad, or with everything frozen, there is nothing to differentiate and the sums alone are computed.
        wanted = any(ctx.needs_input_grad)
        totals: dict[str, Tensor] = {}
        hidden_gradients: list[Tensor] = []
        weight_gradients: list[Tensor | None] = [None] * len(weights)
        for start in range(0, len(hidden), size):
            chunk = slice(start, start + size)
            # Inside a Function's forward nothing is recorded, so recording is switched on for this chunk alone; the
            # leaf cuts it off from the student's body, whose own graph waits outside for the gradient.
            with torch.set_grad_enabled(wanted):
                leaf = hidden[chunk].detach().requires_grad_(wanted)
                sums = chunk_sums(leaf, chunk)
            if wanted:
                # A head may leave out some of its weights (a bias that only other models have).
                gradient, *more = torch.autograd.grad(sums.loss, [leaf, *weights], allow_unused=True)
                hidden_gradients.append(gradient)
                weight_gradients = [_added(total, new) for total, new in zip(weight_gradients, more, strict=True)]
            # Detached, so that this chunk's graph, and with it the logits, is gone before the next chunk is computed.
            totals = {name: value.detach() + totals.get(name, 0) for name, value in sums.by_name().items()}
        rounded = [None if g is None else g.to(w.dtype) for g, w in zip(weight_gradients, weights, strict=True)]
        # Not `save_for_backward`: it would keep them, as large as the head, until the whole graph is freed; here the
        # backward pass gives them up.
        ctx.gradients = (torch.cat(hidden_gradients), *rounded) if wanted else ()
        ctx.mark_non_differentiable(*(value for name, value in totals.items() if name != "loss"))
        return totals["loss"], totals.get("ce"), totals.get("kd")

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Scaled in place and let go of: they are as large as the head's weights, and nobody needs them twice.
        # `upstream` has a number for each output; those of ce and kd, marked non-differentiable, say nothing.
        assert upstream[0] is not None
        gradients, ctx.gradients = ctx.gradients, None
        scaled = (None if gradient is None else gradient.mul_(upstream[0]) for gradient in gradients)
        return (None, None, *scaled)


def _added(total: Float[Tensor, "*axes"] | None, new: Float[Tensor, "*axes"] | None) -> Float[Tensor, "*axes"] | None:
    """The sum of two gradients, where there are two; in float32 or wider whatever the weights are, because a sum over
    hundreds of chunks in bfloat16 would lose the later ones."""
    if new is None:
        return total
    # A weight that the head leaves out has no gradient in any chunk, and none in all.
    wide = new if new.dtype == torch.float64 else new.float()
    return wide if total is None else total.add_(wide)
