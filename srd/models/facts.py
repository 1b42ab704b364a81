"""What a model's config alone says of it: parameters, activations, keys and values. No weight is loaded.

The model is built on the meta device, where tensors have shapes and nothing else, and its forward pass is run there.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, DynamicCache, EncoderDecoderCache, PreTrainedModel

from srd.config import Config, Side
from srd.errors import UserError
from srd.models.build import UNTRAINED, keep_layers, random_config
from srd.models.checkpoints import trainable
from srd.models.load import Size, location, num_parameters, size_of, text_config
from srd.models.seq2seq import class_for, is_encoder_decoder
from srd.models.weights import from_hub

PROBE_TOKENS = 4
"""Tokens of the trial pass: few, so that attention scores, which fused kernels never store, weigh nothing."""


@dataclass(frozen=True)
class Facts:
    """One side's model in numbers; bytes are those of float32 activations and of the weights' own type."""

    parameters: int
    size: Size
    """Of these, what a token of a prompt goes through, and one of a response."""
    trainable: int
    head_parameters: int
    layers: int
    """That a token goes through; of an encoder-decoder model the mean of both stacks."""
    hidden: int
    vocabulary: int
    weight_bytes: int
    """Of one parameter."""
    activation_bytes: int
    """Kept for the backward pass, per token, with fused attention."""
    boundary_bytes: int
    """Of those, what stays with gradient checkpointing: the input of every layer."""
    state_bytes: int
    """Keys and values per token."""


def facts_of(cfg: Config, role: str) -> Facts:
    """The numbers of a role's model; weights that cannot be found are a `UserError`."""
    # On the meta device a model of any size is made in a second: tensors have shapes and a type, and no memory.
    side = cfg.model.side(role)
    settings = _config_of(side, role, cfg.model.vocabulary)
    with torch.device("meta"):
        model = class_for(settings).from_config(settings, trust_remote_code=side.trust_remote_code)
    if side.layers is not None:
        keep_layers(model, side.layers, side.decoder_layers)
    head = model.get_output_embeddings()
    try:
        activation_bytes = _activation_bytes(model)
        state_bytes = _state_bytes(model)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        # Any model's code runs here, and it may ask of a meta tensor what it does not have: a value.
        raise UserError(
            f"{type(model).__name__} cannot be estimated without its weights ({str(error).splitlines()[0]})"
        ) from None
    layers = _layers(model)
    parameters = num_parameters(model)
    hidden = int(head.weight.shape[1])  # pyright: ignore
    return Facts(
        parameters=parameters,
        size=size_of(model),
        trainable=sum(p.numel() for p in trainable(model, side.lora, 0).parameters() if p.requires_grad),
        head_parameters=head.weight.numel(),  # pyright: ignore
        layers=layers,
        hidden=hidden,
        vocabulary=int(head.weight.shape[0]),  # pyright: ignore
        weight_bytes=4 if side.dtype == "float32" else 2,
        activation_bytes=activation_bytes,
        boundary_bytes=4 * layers * hidden,
        state_bytes=state_bytes,
    )


def _config_of(side: Side, role: str, vocabulary: int | None) -> Any:
    if side.architecture is not None:
        return random_config(side, role, {"vocab_size": vocabulary or UNTRAINED})
    where, options = location(side)
    return from_hub(AutoConfig, where, f"model.{role}.name", **options, trust_remote_code=side.trust_remote_code)


def _layers(model: PreTrainedModel) -> int:
    settings = text_config(model)
    if is_encoder_decoder(model.config):
        return round((settings.num_layers + settings.num_decoder_layers) / 2)
    return int(settings.num_hidden_layers)


def _activation_bytes(model: PreTrainedModel) -> int:
    """Bytes per token of the tensors that a forward pass keeps for its backward pass, the weights left out, the head
    too."""
    # By storage and not by tensor: views of one activation are kept once, and a transposed weight is still a weight.
    # Every hook call keeps its tensor alive, so that no address is used a second time.
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        _pass(model)
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in weights) // _tokens(
        model
    )


@torch.no_grad()
def _state_bytes(model: PreTrainedModel) -> int:
    """Bytes per token that decoding keeps of the past."""
    caches = [DynamicCache() for _ in range(2 if is_encoder_decoder(model.config) else 1)]
    _pass(model, past_key_values=caches[0] if len(caches) == 1 else EncoderDecoderCache(*caches), use_cache=True)
    layers = [layer for cache in caches for layer in cache.layers]
    tensors = [tensor for layer in layers for tensor in (layer.keys, layer.values)]  # pyright: ignore
    return sum(tensor.numel() * 4 for tensor in tensors if tensor is not None) // _tokens(model)


def _tokens(model: PreTrainedModel) -> int:
    """Of a trial pass: those of a prompt and those of a response where two stacks read them."""
    return PROBE_TOKENS * (2 if is_encoder_decoder(model.config) else 1)


def _pass(model: PreTrainedModel, **more: Any) -> None:
    """The body's forward pass over a few tokens."""
    # Given a mask of ones [B, T] a model looks whether any token is padding, which a meta tensor cannot tell; a mask of
    # four axes is taken as it is.
    ids = torch.zeros(1, PROBE_TOKENS, dtype=torch.long, device="meta")
    mask = torch.ones(1, 1, PROBE_TOKENS, PROBE_TOKENS, dtype=torch.bool, device="meta")
    both = {"decoder_input_ids": ids, "decoder_attention_mask": mask} if is_encoder_decoder(model.config) else {}
    model.base_model(input_ids=ids, attention_mask=mask, **both, **{"use_cache": False, **more})
