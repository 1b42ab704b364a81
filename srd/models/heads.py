"""The model in two steps, hidden states and logits, at the positions that matter.

Between the two lies everything that a loss over a large vocabulary needs: hidden states [N, H] are small enough to
keep, logits [N, V] are not, so they are made from them a chunk at a time. `HeadAccess` is what a kind of model has to
offer for that; `head_of` says who offers it for a given model, which `srd.models.trial` has found out when the model
was loaded.

Axes: B sequences, T tokens, N supervised positions, H hidden size, V vocabulary.
"""

import inspect
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from srd.models.seq2seq import padded, start_id
from srd.text.batches import Batch, collate
from srd.text.encoding import Encoded


@runtime_checkable
class HeadAccess(Protocol):
    """How the head of one kind of model is reached: the seam between losses and architectures.

    `CausalHead` is that of decoder-only models, `WholePass` that of those among them whose head cannot be reached, and
    `Seq2SeqHead` that of encoder-decoder models, which uses none of the others' means.
    """

    def inputs(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
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
    """`HeadAccess` of decoder-only models, whatever stands between their body and their head and whatever follows it:
    a scale, a bias, a soft-cap."""

    def inputs(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Prompt and response as one sequence."""
        ids, mask, places = batch.input_ids, batch.attention_mask, batch.position_ids
        return arguments_of(model, input_ids=ids, attention_mask=mask, position_ids=places)

    def hidden_states(self, model: nn.Module, batch: Batch) -> Float[Tensor, "N H"]:
        """What the head is given: the last hidden state after the final norm, scaled where the model scales it."""
        return entering_head(model, self.inputs(model, batch), batch.positions)

    def logits(self, model: nn.Module, hidden: Float[Tensor, "N H"], vocabulary: int) -> Float[Tensor, "N V"]:
        """The model's forward pass without its body, its head given `hidden`."""
        # Models differ in what they do to their head's output, and transformers has no function for that step alone. To
        # write it again for each of them would be right until the next release; running their own forward pass is right
        # for models that nobody here has heard of.
        #
        # The hook gives the head its input, so what lies between body and head is passed over: `hidden` is taken behind
        # it. The replaced body is an attribute of the model while this runs. So it is not re-entrant: a second thread,
        # or a hook that calls the same model again, would run with these hidden states. The backward pass is safe: it
        # reads tensors that autograd has kept, and what gradient checkpointing computes again lies inside the body.
        #
        # Under FSDP2 this breaks in two ways, which is why a sharded model needs an implementation of its own. Its
        # modules gather their weights in their forward pass, so every chunk may gather and free the head anew. And what
        # they gather are other tensors than the `parameters` with respect to which the chunked loss is differentiated:
        # torch.autograd.grad would find those unused, and the head would be trained by nothing.
        inner = unwrapped(model)
        name = body_name(inner)
        body = getattr(inner, name)
        hook = inner.get_output_embeddings().register_forward_pre_hook(lambda *_: (hidden.unsqueeze(0),))
        setattr(inner, name, FixedHiddenStates(body, hidden.unsqueeze(0)))
        try:
            # The ids are read by nobody; their shape is what a model may check.
            ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
            # Rows that pad the vocabulary to a round size hold noise and are cut.
            return inner(input_ids=ids, use_cache=False).logits.squeeze(0)[:, :vocabulary]
        finally:
            setattr(inner, name, body)
            hook.remove()

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """Those of the head, tied or not, and whatever else stands outside the body."""
        inner = unwrapped(model)
        in_body = {id(parameter) for parameter in getattr(inner, body_name(inner)).parameters()}
        outside = [parameter for parameter in inner.parameters() if id(parameter) not in in_body]
        # A tied head is the body's embedding as well, so it is named beside those outside; once, in a fixed order.
        named = dict.fromkeys((*outside, *inner.get_output_embeddings().parameters()))
        return [parameter for parameter in named if parameter.requires_grad]


class WholePass(CausalHead):
    """`HeadAccess` of decoder-only models whose logits cannot be made from what enters their head: the forward pass
    gives the logits themselves, row by row, and a loss is chunked behind them."""

    def hidden_states(self, model: nn.Module, batch: Batch) -> Float[Tensor, "N V"]:
        """The logits at the supervised positions, padded rows of the vocabulary too."""
        # One row at a time, so that logits of a padded batch never exist; those at positions that nobody asks for are
        # gone with the row.
        found = []
        for b, supervised in enumerate(batch.supervised):
            row = {name: tensor[b : b + 1] for name, tensor in self.inputs(model, batch).items()}
            found.append(model(**row, use_cache=False).logits[0][supervised])
        return torch.cat(found)

    def logits(self, model: nn.Module, hidden: Float[Tensor, "N V"], vocabulary: int) -> Float[Tensor, "N V"]:
        """What is there already, cut to the vocabulary."""
        return hidden[:, :vocabulary]

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """None: behind the forward pass nothing is left to do."""
        return []


class Seq2SeqHead:
    """`HeadAccess` of encoder-decoder models: prompts for the encoder, responses for the decoder.

    Their head is one linear layer behind whatever scales the hidden states (T5 with a tied head: d_model^-0.5), so
    their logits need no body to be replaced.
    """

    def inputs(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The prompts, and the responses one place to the right behind the token that the decoder starts with."""
        start, device = start_id(unwrapped(model)), batch.labels.device
        prompts, read = padded([row.prompt for row in batch.rows], device)
        responses, written = padded([[start, *row.response[:-1]] for row in batch.rows], device)
        return {
            "input_ids": prompts,
            "attention_mask": read,
            "decoder_input_ids": responses,
            "decoder_attention_mask": written,
        }

    def hidden_states(self, model: nn.Module, batch: Batch) -> Float[Tensor, "N H"]:
        """What the head is given at the decoder's supervised positions."""
        inputs = self.inputs(model, batch)
        width = inputs["decoder_input_ids"].shape[1]
        learned = [
            b * width + place
            for b, row in enumerate(batch.rows)
            for place in range(len(row.response))
            if place not in row.unlearned
        ]
        positions = torch.tensor(learned, dtype=torch.long, device=batch.labels.device)
        return entering_head(model, inputs, positions)

    def logits(self, model: nn.Module, hidden: Float[Tensor, "N H"], vocabulary: int) -> Float[Tensor, "N V"]:
        """The head itself, cut to the vocabulary."""
        return unwrapped(model).get_output_embeddings()(hidden)[:, :vocabulary]

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """Those of the head, tied or not."""
        head = unwrapped(model).get_output_embeddings().parameters()
        return [parameter for parameter in head if parameter.requires_grad]


def entering_head(model: nn.Module, inputs: dict[str, Tensor], positions: Int[Tensor, " N"]) -> Float[Tensor, "N H"]:
    """What the head is given at some positions of a forward pass, counted in a flattened [B * T]; it makes no logits of
    it."""
    seen: list[Tensor] = []

    def take(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor]:
        seen.append(arguments[0].flatten(0, 1)[positions])
        # The head goes on with a sequence of no tokens: it would compute B x T x V logits that nobody wants.
        return (arguments[0][:, :0],)

    # Not a call of the body alone: what stands around a model (an adapter, data parallel) acts on the forward pass
    # of the whole.
    hook = unwrapped(model).get_output_embeddings().register_forward_pre_hook(take)
    try:
        model(**inputs, use_cache=False)
    finally:
        hook.remove()
    return seen[0]


DECODES = "_srd_decodes"
"""Attribute of a language model that says whether it goes on from kept keys and values as from the whole text."""

ACCESS = "_srd_head_access"
"""Attribute of a language model that says who reaches its head; without one it is a `CausalHead`, or a `Seq2SeqHead`
where it has an encoder."""


def head_of(model: nn.Module) -> HeadAccess:
    """Who reaches the head of `model`."""
    inner = unwrapped(model)
    return getattr(inner, ACCESS, Seq2SeqHead() if inner.config.is_encoder_decoder else CausalHead())


@torch.no_grad()
def trial_logits(model: nn.Module) -> Float[Tensor, "T V"]:
    """The logits of a few ids, to see whether two models are one."""
    ids = [3, 4, 5, 6]
    batch = collate([Encoded("0" * 16, ids, ids, False)], 0).to(next(model.parameters()).device)
    return model(**head_of(model).inputs(model, batch), use_cache=False).logits[0]


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


def arguments_of(model: nn.Module, **given: Any) -> dict[str, Any]:
    """Those of a forward pass's arguments that the model knows: one that counts positions by the mask takes no ids of
    them."""
    known = inspect.signature(unwrapped(model).forward).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    return given if takes_any else {name: tensor for name, tensor in given.items() if name in known}


def body_name(inner: nn.Module) -> str:
    """The attribute of a language model that holds all but its head: `base_model_prefix`, or what has the embedding
    where a class names another."""
    prefix = str(inner.base_model_prefix)
    if isinstance(getattr(inner, prefix, None), nn.Module):
        return prefix
    embedding = inner.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    return next(name for name, child in inner.named_children() if any(part is embedding for part in child.modules()))


class FixedHiddenStates(nn.Module):
    """Stands where a body was and gives back the hidden states it was made with."""

    def __init__(self, body: nn.Module, hidden: Float[Tensor, "1 N H"] | None = None) -> None:
        super().__init__()
        # In a tuple, so that the body is no part of this module: its weights are nobody's while it is replaced.
        self.body = (body,)
        self.hidden = hidden

    def forward(self, *arguments: Any, **named: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        return BodyOutput(last_hidden_state=self.hidden)  # pyright: ignore[reportArgumentType]

    def __getattr__(self, name: str) -> Any:
        # A model may call a part of its body (`model.decoder`) and read what is written there (a multiplier).
        found = getattr(self.body[0], name)
        return self if isinstance(found, nn.Module) else found


class BodyOutput(BaseModelOutputWithPastAndCrossAttentions):
    """A body's output that has nothing but hidden states, whatever else a model may look for (a router's logits)."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)
