"""Models that are made here: random weights, a subset of layers, a plain copy of a quantised one."""

from copy import deepcopy
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Weights
from srd.errors import UserError, first_line


def unquantised(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a plain model: transformers de-quantises GGUF on load but goes on calling it quantised, and
    would not save it."""
    settings = deepcopy(model.config)
    vars(settings).pop("quantization_config")
    fresh = AutoModelForCausalLM.from_config(settings, dtype=model.dtype)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh


UNTRAINED = 32_000
"""Classes of a model whose tokenizer has yet to be trained."""


def random_config(weights: Weights, role: str, more: dict[str, Any]) -> Any:
    """The transformers config of a side that starts from nothing; a setting that it does not have is a `UserError`."""
    architecture = dict(weights.architecture or {})
    try:
        kind = CONFIG_MAPPING[architecture.pop("model_type", None)]
        unknown = [key for key in architecture if not hasattr(kind(), key)]
        if unknown:
            raise UserError(f"model.{role}.architecture.{unknown[0]}: {kind.__name__} has no such setting")
        return kind(**{**more, **architecture})
    except (KeyError, ValueError, TypeError, StrictDataclassError) as error:
        raise not_a_model(weights, role, error) from None


def random_model(weights: Weights, role: str, tokenizer: PreTrainedTokenizerBase, seed: int | None) -> PreTrainedModel:
    """Weights drawn with the seed of the side's recipe: the same wherever a stage starts from nothing."""
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = random_config(weights, role, {"vocab_size": len(tokenizer), **special})
    assert seed is not None, "random weights are identified by their seed"
    torch.manual_seed(seed)
    try:
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, weights.dtype))
    except (ValueError, TypeError) as error:
        raise not_a_model(weights, role, error) from None


def not_a_model(weights: Weights, role: str, error: Exception) -> UserError:
    """What to say of an architecture that transformers cannot make a model of."""
    return UserError(
        f"model.{role}.architecture={weights.architecture}: not a causal language model that can be built "
        f"({first_line(error)}); expected model_type (llama, gpt2 …) and fields of its transformers config"
    )


def keep_layers(model: PreTrainedModel, layers: list[int]) -> None:
    """Keep the transformer blocks with these indices, in this order, in place (layer-subset student)."""
    stacks = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == model.config.num_hidden_layers
    ]
    if len(stacks) != 1:
        raise UserError(f"model.student.layers: {type(model).__name__} has no single stack of layers to choose from")
    parent, name, blocks = stacks[0]
    outside = [layer for layer in layers if not 0 <= layer < len(blocks)]
    if outside or not layers or len(set(layers)) < len(layers):
        raise UserError(f"model.student.layers={layers}: expected different indices in 0 … {len(blocks) - 1}")
    setattr(parent, name, nn.ModuleList(blocks[layer] for layer in layers))
    model.config.num_hidden_layers = len(layers)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[layer] for layer in layers]
    for index, block in enumerate(getattr(parent, name)):
        # The key-value cache files each layer's keys under this number.
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index
