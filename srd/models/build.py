"""Models that are made here: random weights, a subset of layers, a plain copy of a quantised one."""

from copy import deepcopy
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Weights
from srd.errors import UserError, first_line
from srd.models.heads import trial_logits
from srd.models.seq2seq import carry_positions, class_for, is_encoder_decoder, stacks_of
from srd.models.weights import UNREADABLE


def unquantised(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a plain model: transformers de-quantises GGUF on load but goes on calling it quantised, and
    would not save it."""
    settings = deepcopy(model.config)
    vars(settings).pop("quantization_config")
    fresh = AutoModelForCausalLM.from_config(settings, dtype=model.dtype)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh


START = "decoder_start_token_id"
"""A setting of encoder-decoder models that not every config of theirs has by itself."""

UNTRAINED = 32_000
"""Classes of a model whose tokenizer has yet to be trained."""


def random_config(weights: Weights, role: str, more: dict[str, Any]) -> Any:
    """The transformers config of a side that starts from nothing; a setting that it does not have is a `UserError`."""
    architecture = dict(weights.architecture or {})
    try:
        kind = CONFIG_MAPPING[architecture.pop("model_type", None)]
        default = kind()
        known = {START} if is_encoder_decoder(default) else set()
        unknown = [key for key in architecture if key not in known and not hasattr(default, key)]
        if unknown:
            raise UserError(f"model.{role}.architecture.{unknown[0]}: {kind.__name__} has no such setting")
        return kind(**{**more, **architecture})
    except (KeyError, ValueError, TypeError, StrictDataclassError) as error:
        raise not_a_model(weights, role, error) from None


def random_model(weights: Weights, role: str, tokenizer: PreTrainedTokenizerBase, seed: int | None) -> PreTrainedModel:
    """Weights drawn with the seed of the side's recipe: the same wherever a stage starts from nothing."""
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = random_config(weights, role, {"vocab_size": len(tokenizer), **special})
    if is_encoder_decoder(config) and START not in (weights.architecture or {}):
        # As T5's, the decoder of a model that starts from nothing begins with the token that pads.
        config.decoder_start_token_id = tokenizer.pad_token_id
    assert seed is not None, "random weights are identified by their seed"
    torch.manual_seed(seed)
    try:
        return class_for(config).from_config(config, dtype=getattr(torch, weights.dtype))
    except (ValueError, TypeError) as error:
        raise not_a_model(weights, role, error) from None


def not_a_model(weights: Weights, role: str, error: Exception) -> UserError:
    """What to say of an architecture that transformers cannot make a model of."""
    return UserError(
        f"model.{role}.architecture={weights.architecture}: not a language model that can be built "
        f"({first_line(error)}); expected model_type (llama, gpt2, t5 …) and fields of its transformers config"
    )


def keep_layers(model: PreTrainedModel, layers: list[int], decoder_layers: list[int] | None = None) -> None:
    """Keep the transformer blocks with these indices, in this order, in place (layer-subset student).

    Of an encoder-decoder model `layers` are those of either stack, or of the encoder alone where `decoder_layers` names
    the decoder's.
    """
    if is_encoder_decoder(model.config):
        _keep_in_both(model, {"layers": layers, "decoder_layers": layers if decoder_layers is None else decoder_layers})
    elif decoder_layers is not None:
        raise UserError(
            f"model.student.decoder_layers: {type(model).__name__} has no encoder; use model.student.layers"
        )
    else:
        _keep_in_one(model, layers)
    _check_rebuilt(model, layers)


def _keep_in_both(model: PreTrainedModel, layers: dict[str, list[int]]) -> None:
    """Of the encoder and of the decoder, by the setting that names their layers."""
    for key, stack in stacks_of(model).items():
        settings: Any = stack.config
        settings.num_layers = _cut(model, [stack], None, key, layers[key])
        whole: Any = model.config
        setattr(whole, "num_hidden_layers" if key == "layers" else "num_decoder_layers", settings.num_layers)


def _keep_in_one(model: PreTrainedModel, layers: list[int]) -> None:
    """Of a decoder-only model."""
    settings = model.config.get_text_config(decoder=True)
    whole = settings.num_hidden_layers
    # A model with vision has a stack for it as well, which may be as high: the text's is in what takes its embedding.
    settings.num_hidden_layers = _cut(model, _text_parts(model), whole, "layers", layers)
    for key, values in vars(settings).items():
        # Types of layers, and whatever else is said of each.
        if isinstance(values, list) and len(values) == whole:
            setattr(settings, key, [values[layer] for layer in layers])


def _cut(model: PreTrainedModel, parts: list[nn.Module], height: int | None, key: str, layers: list[int]) -> int:
    """Cut the one stack of blocks among the children of `parts`, of a `height` where that is known; returns how many
    are left."""
    stacks = [
        (parent, name, child)
        for parent in parts
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == (len(child) if height is None else height)
    ]
    if len(stacks) != 1:
        raise UserError(f"model.student.{key}: {type(model).__name__} has no single stack of layers to choose from")
    parent, name, blocks = stacks[0]
    outside = [layer for layer in layers if not 0 <= layer < len(blocks)]
    if outside or not layers or len(set(layers)) < len(layers):
        raise UserError(f"model.student.{key}={layers}: expected different indices in 0 … {len(blocks) - 1}")
    kept: list[Any] = [blocks[layer] for layer in layers]
    carry_positions(blocks, kept)
    setattr(parent, name, nn.ModuleList(kept))
    for index, block in enumerate(kept):
        # The key-value cache files each layer's keys under this number.
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index
    return len(kept)


def _alone(model: PreTrainedModel) -> Float[Tensor, "T V"]:
    """The logits of a few ids as anybody calls the model: it counts their places itself, and keeps what it would go on
    from."""
    if is_encoder_decoder(model.config):
        return trial_logits(model)
    return model(input_ids=torch.arange(3, 11, device=model.device).unsqueeze(0)).logits[0]


@torch.no_grad()
def _check_rebuilt(model: PreTrainedModel, layers: list[int]) -> None:
    """A `UserError` unless the model that is made of the shortened config, with the same weights, computes the same:
    what a layer is may hang on its number (a pattern of windows, experts or positions)."""
    try:
        with torch.device("meta"):
            rebuilt = class_for(model.config).from_config(model.config, dtype=model.dtype)
        rebuilt.load_state_dict(model.state_dict(), assign=True)
        for name, buffer in model.named_buffers():
            holder, _, last = name.rpartition(".")
            rebuilt.get_submodule(holder)._buffers[last] = buffer
        same = torch.allclose(_alone(rebuilt.eval()), _alone(model), rtol=1e-3, atol=1e-4)
    except UNREADABLE:
        same = False
    if not same:
        raise UserError(
            f"model.student.layers={layers}: {type(model).__name__} builds its layers by their number, and these would "
            "be others when they are loaded again; keep whole periods of its pattern, or take another model"
        )


def _text_parts(model: PreTrainedModel) -> list[nn.Module]:
    """The modules that hold the text's embedding themselves, or where there is none, all."""
    embedding = model.get_input_embeddings()
    around = [part for part in model.modules() if any(child is embedding for child in part.children())]
    return [part for holder in around for part in holder.modules()] or list(model.modules())
