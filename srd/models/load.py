"""Weights and tokenizers by name, folder, package or what an earlier stage left."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Engine, Pair, Weights
from srd.errors import UserError
from srd.models.build import keep_layers, random_model, unquantised
from srd.models.checkpoints import merged_with
from srd.models.device import device
from srd.models.heads import unwrapped
from srd.models.seq2seq import is_encoder_decoder
from srd.models.weights import from_hub, load_weights

CROSS = re.compile(r"(EncDecAttention|encoder_attn|cross_attn)\.(k|v|k_proj|v_proj)\b")
"""In the names of what makes keys and values of the encoder's states."""

# The stages show bars of their own, and what the library warns of is checked here and said in one line.
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


def load_tokenizer(pair: Pair, inputs: dict[str, Path]) -> PreTrainedTokenizerBase:
    """The tokenizer of a stage: the trained one where there is one, else that of the student's weights.

    Teacher and student must have the same vocabulary, or a `UserError` gives both sizes.
    """
    if "tokenizer" in inputs:
        return AutoTokenizer.from_pretrained(inputs["tokenizer"])
    student, teacher = (_side_tokenizer(pair.side(role), role) for role in ("student", "teacher"))
    if student.get_vocab() != teacher.get_vocab():
        raise UserError(
            f"teacher and student have different vocabularies ({len(teacher)} and {len(student)} tokens): "
            "a divergence needs the same tokens; choose a pair that shares its tokenizer"
        )
    if student.eos_token_id != teacher.eos_token_id:
        raise UserError(
            f"teacher and student end a text differently ({teacher.eos_token!r} and {student.eos_token!r}): "
            "choose a pair of one kind, both instruct or both base models"
        )
    return student


def load_model(
    pair: Pair,
    role: str,
    inputs: dict[str, Path],
    tokenizer: PreTrainedTokenizerBase,
    engine: Engine,
    seed: int | None = None,
) -> PreTrainedModel:
    """The model of a role in its newest form among a stage's inputs, in eval mode on the engine's device.

    The configured weights (random ones drawn with `seed`), then the role's fine-tuned ones, then the distilled
    `checkpoint`: whole weights replace what came before, a LoRA adapter is merged into it. A model to train gets an
    adapter of its own through `trainable`.
    """
    weights = pair.side(role)
    whole = inputs[role] / "model" if role in inputs else None
    checkpoint = inputs.get("checkpoint")
    # Fine-tuning leaves whole weights; a checkpoint may be an adapter, a change of what came before it.
    is_adapter = checkpoint is not None and (checkpoint / "adapter_config.json").is_file()
    whole = whole if checkpoint is None or is_adapter else checkpoint
    if whole is None:
        model = _initial(weights, role, tokenizer, seed)
    else:
        options = {"dtype": getattr(torch, weights.dtype), "trust_remote_code": weights.trust_remote_code}
        model = load_weights(str(whole), f"model.{role}", use_safetensors=True, **options)
        model.name_or_path = str(whole)
    if is_adapter:
        model = merged_with(model, str(checkpoint), f"model.{role}")
    _check_size(model, role, tokenizer, pair.longest_tokens)
    nn.Module.to(model, device(engine))
    return model.eval()


def _check_size(model: PreTrainedModel, role: str, tokenizer: PreTrainedTokenizerBase, longest_tokens: int) -> None:
    """A `UserError` for a model with fewer rows than tokens or fewer positions than a text may have."""
    rows = len(model.get_input_embeddings().weight)  # pyright: ignore[reportArgumentType]
    if rows < len(tokenizer):
        raise UserError(
            f"model.{role}: {rows} embedding rows for {len(tokenizer)} tokens; its tokenizer belongs to another model"
        )
    positions = getattr(text_config(model), "max_position_embeddings", None)
    if positions is not None and longest_tokens > positions:
        raise UserError(
            f"model.{role}: {positions} positions, but a prompt with its answer may take {longest_tokens}; "
            "lower model.max_tokens, model.max_prompt_tokens or generation.max_new_tokens"
        )


def check_kind(model: PreTrainedModel, role: str, encoder_decoder: bool) -> None:
    """A `UserError` for a model with an encoder where prompts are not made for one, or the other way round."""
    if is_encoder_decoder(model.config) and not encoder_decoder:
        raise UserError(
            f"model.{role}: {type(model).__name__} is an encoder-decoder model; where both models are of that kind set "
            "model.encoder_decoder=true"
        )
    if encoder_decoder and not is_encoder_decoder(model.config):
        raise UserError(
            f"model.encoder_decoder=true: model.{role} is a {type(model).__name__}, which has no encoder; choose two "
            "models with one (T5, mT5), or set it to false for two decoder-only models"
        )


def text_config(model: PreTrainedModel) -> Any:
    """The config of the language model, which in a model with vision is a part of the whole's."""
    return model.config.get_text_config(decoder=True)


def num_parameters(model: nn.Module) -> int:
    """Parameters of the model, a tied one once."""
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class Size:
    """Parameters that a token of a prompt, and one of a response, is computed with: all of them in a decoder-only
    model."""

    prompt: int
    response: int


def size_of(model: nn.Module) -> Size:
    """The parameters by the tokens that go through them. In an encoder-decoder model those of a prompt go through the
    encoder's layers and the cross-attention's keys and values, those of a response through everything else, embedding
    and head among it."""
    whole, inner = num_parameters(model), unwrapped(model)
    if not is_encoder_decoder(inner.config):
        return Size(whole, whole)
    embedding = {id(parameter) for parameter in inner.get_input_embeddings().parameters()}
    encoder = [parameter for parameter in inner.get_encoder().parameters() if id(parameter) not in embedding]
    cross = [parameter for name, parameter in inner.get_decoder().named_parameters() if CROSS.search(name)]
    read = sum(parameter.numel() for parameter in [*encoder, *cross])
    return Size(read, whole - read)


def _initial(weights: Weights, role: str, tokenizer: PreTrainedTokenizerBase, seed: int | None) -> PreTrainedModel:
    """The weights that the config names, before any training."""
    if weights.architecture is not None:
        return random_model(weights, role, tokenizer, seed)
    where, options = location(weights)
    options |= {"dtype": getattr(torch, weights.dtype), "trust_remote_code": weights.trust_remote_code}
    if weights.gguf_file is None:
        options["use_safetensors"] = True  # a pickle can run code
    model = load_weights(where, f"model.{role}.name" if weights.name else f"model.{role}.package", **options)
    if weights.gguf_file is not None:
        model = unquantised(model)
    if weights.adapter is not None:
        model = merged_with(model, weights.adapter, f"model.{role}.adapter")
    if weights.layers is not None:
        keep_layers(model, weights.layers, weights.decoder_layers)
    # What an adapter names as its base has to be what it was trained on: weights that were changed here are nowhere.
    changed = weights.gguf_file or weights.adapter or weights.layers
    model.name_or_path = "" if changed else where
    return model


def _side_tokenizer(weights: Weights, role: str) -> PreTrainedTokenizerBase:
    if weights.architecture is not None:
        raise UserError(f"model.{role} has random weights and so no tokenizer; set model.vocabulary to train one")
    where, options = location(weights)
    key = f"model.{role}.name" if weights.name else f"model.{role}.package"
    return from_hub(AutoTokenizer, where, key, **options, trust_remote_code=weights.trust_remote_code)


def location(weights: Weights) -> tuple[str, dict[str, Any]]:
    """Where `from_pretrained` finds a side's files."""
    if weights.package is not None:
        # Looked up, not imported: the package may need what only its own program uses.
        spec = find_spec(weights.package.replace("-", "_"))
        folders = list(spec.submodule_search_locations or []) if spec is not None else []
        assert folders, f"the graph has checked that {weights.package} is installed"
        return folders[0], {"gguf_file": weights.gguf_file}
    gguf = {"gguf_file": weights.gguf_file} if weights.gguf_file else {}
    return str(weights.name), {"revision": weights.revision, **gguf}
