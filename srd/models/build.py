"""Models that are made here: random weights, a subset of layers, a plain copy of a quantised one."""

from copy import deepcopy
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Weights
from srd.errors import UserError, first_line
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
    settings = model.config.get_text_config(decoder=True)
    # A model with vision has a stack for it as well, which may be as high: the text's is in what takes its embedding.
    stacks = [
        (parent, name, child)
        for parent in _text_parts(model)
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == settings.num_hidden_layers
    ]
    if len(stacks) != 1:
        raise UserError(f"model.student.layers: {type(model).__name__} has no single stack of layers to choose from")
    parent, name, blocks = stacks[0]
    outside = [layer for layer in layers if not 0 <= layer < len(blocks)]
    if outside or not layers or len(set(layers)) < len(layers):
        raise UserError(f"model.student.layers={layers}: expected different indices in 0 … {len(blocks) - 1}")
    setattr(parent, name, nn.ModuleList(blocks[layer] for layer in layers))
    for key, values in vars(settings).items():
        # Types of layers, and whatever else is said of each.
        if isinstance(values, list) and len(values) == len(blocks):
            setattr(settings, key, [values[layer] for layer in layers])
    settings.num_hidden_layers = len(layers)
    for index, block in enumerate(getattr(parent, name)):
        # The key-value cache files each layer's keys under this number.
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index
    _check_rebuilt(model, layers)


@torch.no_grad()
def _check_rebuilt(model: PreTrainedModel, layers: list[int]) -> None:
    """A `UserError` unless the model that is made of the shortened config, with the same weights, computes the same:
    what a layer is may hang on its number (a pattern of windows, experts or positions)."""
    try:
        with torch.device("meta"):
            rebuilt = AutoModelForCausalLM.from_config(model.config, dtype=model.dtype)
        rebuilt.load_state_dict(model.state_dict(), assign=True)
        for name, buffer in model.named_buffers():
            holder, _, last = name.rpartition(".")
            rebuilt.get_submodule(holder)._buffers[last] = buffer
        ids = torch.arange(3, 11, device=model.device).unsqueeze(0)
        same = torch.allclose(rebuilt.eval()(input_ids=ids).logits, model(input_ids=ids).logits, rtol=1e-3, atol=1e-4)
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
