"""Encoder-decoder models (T5 and its like): the prompt is the encoder's input, the response the decoder's.

What is theirs alone: which class of transformers loads them, the token that their decoder starts with, what their two
stacks read, and the table of relative positions that a cut of their layers must not lose.

Axes: B sequences, S tokens of the longest.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from srd.errors import UserError


def class_for(config: Any) -> Any:
    """The class of transformers that makes a language model of a config, or of a config's JSON."""
    return AutoModelForSeq2SeqLM if is_encoder_decoder(config) else AutoModelForCausalLM


def is_encoder_decoder(config: Any) -> bool:
    """Whether a config, or a config's JSON, is that of an encoder-decoder model."""
    if not isinstance(config, dict):
        return bool(config.is_encoder_decoder)
    kind = str(config.get("model_type"))
    default = CONFIG_MAPPING[kind].is_encoder_decoder if kind in CONFIG_MAPPING else False
    return bool(config.get("is_encoder_decoder", default))


def start_id(model: Any) -> int:
    """The id that the decoder starts with, before the response; a `UserError` where the model names none."""
    named = [model.config, model.generation_config]
    starts = [getattr(settings, "decoder_start_token_id", None) for settings in named]
    start = next((start for start in starts if start is not None), None)
    rows = len(model.get_input_embeddings().weight)
    if start is None or not 0 <= start < rows:
        raise UserError(
            f"{type(model).__name__}: its config.json has decoder_start_token_id={start}, expected an id below {rows}; "
            "write there what its decoder was trained to start with (T5: that of <pad>, 0)"
        )
    return int(start)


def padded(
    rows: list[list[int]], device: torch.device, side: str = "right"
) -> tuple[Int[Tensor, "B S"], Int[Tensor, "B S"]]:
    """Ids of rows as one tensor, and its mask; what pads is token 0, which nothing ever looks at."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for b, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[b, place] = torch.tensor(row, dtype=torch.long)
        mask[b, place] = 1
    return ids.to(device), mask.to(device)


def stacks_of(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The encoder and the decoder, by the setting of a student's layers that cuts them."""
    return {"layers": model.get_encoder(), "decoder_layers": model.get_decoder()}  # pyright: ignore[reportReturnType]


def carry_positions(blocks: nn.ModuleList, kept: list[nn.Module]) -> None:
    """Give the first of the `kept` blocks the table of relative positions that the first of all `blocks` has for the
    whole stack (T5, Raffel et al. 2020, section 2.1); where every block has one of its own, nothing is done."""

    def tables(block: nn.Module) -> list[str]:
        parts = block.named_modules()
        return [name for name, part in parts if getattr(part, "has_relative_attention_bias", False)]

    if any(tables(block) for block in blocks[1:]):
        return
    for name in tables(blocks[0]):
        old, new = blocks[0].get_submodule(name), kept[0].get_submodule(name)
        table = old.relative_attention_bias
        del old.relative_attention_bias
        old.has_relative_attention_bias, new.has_relative_attention_bias = False, True  # pyright: ignore
        new.relative_attention_bias = table
