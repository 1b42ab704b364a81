"""Weights on disk, whole or as an adapter, and adapters to train."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Lora
from srd.errors import UserError, first_line
from srd.runtime import processes
from srd.store.files import disk_errors


def trainable(model: PreTrainedModel, lora: Lora, seed: int) -> nn.Module:
    """The model ready to train: all weights, or a seeded LoRA adapter in front of frozen ones."""
    if lora.rank == 0:
        return model.requires_grad_(True)
    peft = load_peft()
    torch.manual_seed(seed)
    adapter = peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, task_type="CAUSAL_LM")
    return peft.get_peft_model(model, adapter).eval()  # the loop turns its dropout on for the steps alone


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Weights (or adapter) and tokenizer in Hugging Face format, safetensors only; of several processes the first one
    writes."""
    if not processes.is_first():
        return
    with disk_errors(folder):
        model.save_pretrained(folder)
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        # peft writes this list from a set, in an order that changes from process to process.
        settings = json.loads(adapter.read_text())
        adapter.write_text(json.dumps({**settings, "target_modules": sorted(settings["target_modules"])}, indent=2))
        # peft leaves it out, and with it what ends an answer.
        model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def fold_adapter(folder: Path, tokenizer: PreTrainedTokenizerBase, merged: Callable[[], PreTrainedModel]) -> None:
    """Replace the adapter saved in `folder` by the whole model that it is `merged` into; a killed run repeats it."""
    # The adapter's config goes before its folder does: if it is there nothing has been replaced, if not the merged
    # model is whole and only the renaming is left.
    whole = folder.with_name(folder.name + "-merged")
    if (folder / "adapter_config.json").is_file():
        save_model(merged(), tokenizer, whole)
        (folder / "adapter_config.json").unlink()
    if whole.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(whole, folder)


def merged_with(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    """The model with a LoRA adapter folded into its weights."""
    peft = load_peft()
    try:
        return peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except (OSError, ValueError) as error:
        raise UserError(
            f"adapter {adapter}: cannot be loaded ({first_line(error)}); place adapter_config.json and "
            "adapter_model.safetensors there"
        ) from None


def load_peft() -> Any:
    """The package peft; without it a `UserError` that says how to install it."""
    try:
        import peft
    except ImportError:
        raise UserError("LoRA needs the package peft, which is not installed; run `pip install 'srd[lora]'`") from None
    return peft
