"""The model in two steps, hidden states and logits, at the positions that matter.

Axes: B sequences, T tokens, N supervised positions, H hidden size, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from srd.text.batches import Batch


def hidden_at(model: nn.Module, batch: Batch) -> Tensor:
    """What enters the model's head at the supervised positions of `batch`: [N, H], the last hidden state after the
    final norm."""
    seen: list[Tensor] = []

    def take(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor]:
        seen.append(arguments[0].flatten(0, 1)[batch.positions])
        return (arguments[0][:, :0],)  # nobody wants the logits of this pass

    hook = unwrapped(model).get_output_embeddings().register_forward_pre_hook(take)
    try:
        model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        )
    finally:
        hook.remove()
    return seen[0]


def head_logits(model: nn.Module, hidden: Tensor, vocabulary: int) -> Tensor:
    """The model's own way from hidden states [N, H] to logits, cut to the first `vocabulary` classes: [N, V].

    Its forward pass runs with the body replaced, so that whatever follows the head (bias, scale,
    soft-cap) follows here too. Rows that pad the vocabulary to a round size hold noise and are cut.
    """
    inner = unwrapped(model)
    body = getattr(inner, inner.base_model_prefix)
    setattr(inner, inner.base_model_prefix, FixedHiddenStates(hidden.unsqueeze(0)))
    try:
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        return inner(input_ids=ids, use_cache=False).logits.squeeze(0)[:, :vocabulary]
    finally:
        setattr(inner, inner.base_model_prefix, body)


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters that `head_logits` uses: the head's, tied or not, and whatever else stands outside the
    body."""
    inner = unwrapped(model)
    body = {id(parameter) for parameter in getattr(inner, inner.base_model_prefix).parameters()}
    outside = [parameter for parameter in inner.parameters() if id(parameter) not in body]
    return [
        parameter
        for parameter in dict.fromkeys((*outside, *inner.get_output_embeddings().parameters()))
        if parameter.requires_grad
    ]


def unwrapped(model: nn.Module) -> Any:
    """The causal language model inside what other libraries put around it (data parallel's `module`, peft's base
    model)."""
    inner: Any = model.module if isinstance(getattr(model, "module", None), nn.Module) else model
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


class FixedHiddenStates(nn.Module):
    """Stands where a body was and gives back the hidden states it was made with."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *arguments: Any, **named: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=self.hidden)  # pyright: ignore[reportArgumentType]


def logits_at(model: nn.Module, batch: Batch, vocabulary: int) -> Tensor:
    """Logits [N, V] at the supervised positions of `batch`; nothing of size B x T x V exists."""
    return head_logits(model, hidden_at(model, batch), vocabulary)
