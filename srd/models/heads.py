"""The model in two steps, hidden states and logits, at the positions that matter.

Between the two lies everything that a loss over a large vocabulary needs: hidden states [N, H] are small enough to
keep, logits [N, V] are not, so they are made from them a chunk at a time. `HeadAccess` is what a kind of model has to
offer for that; `head_of` says who offers it for a given model.

Axes: B sequences, T tokens, N supervised positions, H hidden size, V vocabulary.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from srd.errors import UserError
from srd.text.batches import Batch


@runtime_checkable
class HeadAccess(Protocol):
    """How the head of one kind of model is reached: the seam between losses and architectures.

    An encoder-decoder model implements it without any of `CausalHead`'s means. Its inputs come from `batch.rows`: the
    prompts for the encoder, the responses shifted by one for the decoder; read row by row, its supervised positions are
    in the order of `batch.labels`. Its head is one linear layer behind whatever scales the hidden states, so its logits
    need no body to be replaced.
    """

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Keyword arguments of the model's forward pass over `batch`."""
        ...

    def hidden_states(self, model: nn.Module, batch: Batch) -> Float[Tensor, "N H"]:
        """What enters the head at the supervised positions, in the order of `batch.labels`."""
        ...

    def logits(self, model: nn.Module, hidden: Float[Tensor, "N H"], vocabulary: int) -> Float[Tensor, "N V"]:
        """The model's own way from hidden states to logits, cut to the first `vocabulary` classes."""
        ...

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """The trainable parameters that `logits` uses."""
        ...


class CausalHead:
    """`HeadAccess` of decoder-only models, whatever follows their head: bias, scale, soft-cap."""

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Prompt and response as one sequence."""
        return {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "position_ids": batch.position_ids,
        }

    def hidden_states(self, model: nn.Module, batch: Batch) -> Float[Tensor, "N H"]:
        """The last hidden state after the final norm."""
        seen: list[Tensor] = []

        def take(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor]:
            seen.append(arguments[0].flatten(0, 1)[batch.positions])
            # The head goes on with a sequence of no tokens: it would compute B x T x V logits that nobody wants.
            return (arguments[0][:, :0],)

        # Not a call of the body alone: what stands around a model (an adapter, data parallel) acts on the forward pass
        # of the whole. That the head's input is the body's output is taken for granted here and in `logits`: a model
        # with a scale between the two would have it applied twice, and needs an implementation of its own.
        hook = unwrapped(model).get_output_embeddings().register_forward_pre_hook(take)
        try:
            model(**self.inputs(batch), use_cache=False)
        finally:
            hook.remove()
        return seen[0]

    def logits(self, model: nn.Module, hidden: Float[Tensor, "N H"], vocabulary: int) -> Float[Tensor, "N V"]:
        """The model's forward pass with its body replaced by one that gives back `hidden`."""
        # Models differ in what they do to their head's output, and transformers has no function for that step alone. To
        # write it again for each of them would be right until the next release; running their own forward pass is right
        # for models that nobody here has heard of.
        #
        # The replaced body is an attribute of the model while this runs. So it is not re-entrant: a second thread, or a
        # hook that calls the same model again, would run with these hidden states. The backward pass is safe: it reads
        # tensors that autograd has kept, and what gradient checkpointing computes again lies inside the body.
        #
        # Under FSDP2 this breaks in two ways, which is why a sharded model needs an implementation of its own. Its
        # modules gather their weights in their forward pass, so every chunk may gather and free the head anew. And what
        # they gather are other tensors than the `parameters` with respect to which the chunked loss is differentiated:
        # torch.autograd.grad would find those unused, and the head would be trained by nothing.
        inner = unwrapped(model)
        body = getattr(inner, inner.base_model_prefix)
        setattr(inner, inner.base_model_prefix, FixedHiddenStates(hidden.unsqueeze(0)))
        try:
            # The ids are read by nobody; their shape is what a model may check.
            ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
            # Rows that pad the vocabulary to a round size hold noise and are cut.
            return inner(input_ids=ids, use_cache=False).logits.squeeze(0)[:, :vocabulary]
        finally:
            setattr(inner, inner.base_model_prefix, body)

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """Those of the head, tied or not, and whatever else stands outside the body."""
        inner = unwrapped(model)
        in_body = {id(parameter) for parameter in getattr(inner, inner.base_model_prefix).parameters()}
        outside = [parameter for parameter in inner.parameters() if id(parameter) not in in_body]
        # A tied head is the body's embedding as well, so it is named beside those outside; once, in a fixed order.
        named = dict.fromkeys((*outside, *inner.get_output_embeddings().parameters()))
        return [parameter for parameter in named if parameter.requires_grad]


def head_of(model: nn.Module) -> HeadAccess:
    """Who reaches the head of `model`; a kind of model that has nobody yet is a `UserError`."""
    inner = unwrapped(model)
    if inner.config.is_encoder_decoder:
        raise UserError(
            f"{type(inner).__name__} is an encoder-decoder model, whose head cannot be reached yet; "
            "choose a decoder-only (causal) language model"
        )
    return CausalHead()


def hidden_at(model: nn.Module, batch: Batch) -> Float[Tensor, "N H"]:
    """What enters the model's head at the supervised positions of `batch`."""
    return head_of(model).hidden_states(model, batch)


def head_logits(model: nn.Module, hidden: Float[Tensor, "N H"], vocabulary: int) -> Float[Tensor, "N V"]:
    """Hidden states to logits through the model's own head, cut to the first `vocabulary` classes."""
    return head_of(model).logits(model, hidden, vocabulary)


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters that `head_logits` uses."""
    return head_of(model).parameters(model)


def logits_at(model: nn.Module, batch: Batch, vocabulary: int) -> Float[Tensor, "N V"]:
    """Logits at the supervised positions of `batch`; nothing of size B x T x V exists."""
    head = head_of(model)
    return head.logits(model, head.hidden_states(model, batch), vocabulary)


def unwrapped(model: nn.Module) -> Any:
    """The language model inside what other libraries put around it (data parallel's `module`, peft's base model)."""
    inner: Any = model.module if isinstance(getattr(model, "module", None), nn.Module) else model
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


class FixedHiddenStates(nn.Module):
    """Stands where a body was and gives back the hidden states it was made with."""

    def __init__(self, hidden: Float[Tensor, "1 N H"]) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *arguments: Any, **named: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=self.hidden)  # pyright: ignore[reportArgumentType]
