"""Weights on disk, whole or as an adapter, and adapters to train."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from srd.config import Lora
from srd.errors import UserError, first_line
from srd.models.heads import trial_logits
from srd.models.trial import agree
from srd.models.weights import UNREADABLE, check_finite
from srd.runtime import processes
from srd.store.files import disk_errors, put, unfinished

SPECIAL = re.compile("router|grouped", re.IGNORECASE)
"""In the names of linear layers that are more than that."""


def trainable(model: PreTrainedModel, lora: Lora, seed: int, role: str = "student") -> nn.Module:
    """The model ready to train: all weights, or a seeded LoRA adapter in front of frozen ones."""
    if lora.rank == 0:
        if model.dtype == torch.float16:
            raise UserError(
                f"model.{role}.dtype=float16: such weights cannot be trained, their gradients and steps vanish; set "
                f"model.{role}.dtype=float32 (engine.precision=bfloat16 computes in half), or model.{role}.lora.rank"
            )
        return model.requires_grad_(True)
    peft = load_peft()
    torch.manual_seed(seed)
    linear = linear_layers(model)
    sizes = {"r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout}
    targets = lora.target_modules or linear
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    adapter = peft.LoraConfig(**sizes, target_modules=targets, task_type=task)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it mends by itself, and of older names in other libraries
            adapted = peft.get_peft_model(model, adapter, revision=getattr(model.config, "_commit_hash", None))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"model.{role}.lora.target_modules={lora.target_modules}: {first_line(error)}; linear layers of "
            f"{type(model).__name__}: {', '.join(linear)}"
        ) from None
    return adapted.eval()  # the loop turns its dropout on for the steps alone


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Last parts of the names of all linear layers but the head, in order."""
    # peft has a choice of its own, for some architectures only. Left out is what is no layer of one input and output:
    # the head, routers, groups, what a state space reads the weights of, and, where experts are one tensor, the names
    # that peft takes for theirs, which it cannot drop out.
    head, fixed = model.get_output_embeddings(), set()
    if any("mamba" in key for key in (model.config.model_type, *vars(model.config))):
        fixed |= {"out_proj", "x_proj", "dt_proj"}
    if any(parameter.ndim == 3 for parameter in model.parameters()):
        fixed |= {"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3", "gate"}
    layers = {
        # A number alone would be that of a block as well.
        ".".join(name.split(".")[-2 if name.rpartition(".")[2].isdigit() else -1 :])
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | Conv1D) and part is not head and not SPECIAL.search(f"{name} {type(part)}")
    }
    return sorted(layers - fixed)


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Weights (or adapter) and tokenizer in Hugging Face format, safetensors only; of several processes the first one
    writes. The folder is written beside and renamed: it holds what was saved now and nothing else."""
    if not processes.is_first():
        return
    # peft would ask for the base's config, on the hub if need be, to see whether the embedding was resized: it is not.
    more = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    place = unfinished(folder)
    with disk_errors(folder):
        model.save_pretrained(place, **more)
        adapter = place / "adapter_config.json"
        if adapter.is_file():
            # peft writes this list from a set, in an order that changes from process to process.
            settings = json.loads(adapter.read_text())
            adapter.write_text(json.dumps({**settings, "target_modules": sorted(settings["target_modules"])}, indent=2))
            # peft leaves it out, and with it what ends an answer.
            model.generation_config.save_pretrained(place)
        tokenizer.save_pretrained(place)
    put(place, folder)


@torch.no_grad()
def folded(model: nn.Module, what: str) -> PreTrainedModel:
    """The model with its adapter, if it has one, folded into its weights; a `UserError` about `what` unless it then
    computes the same."""
    adapted: Any = model
    if not hasattr(adapted, "merge_and_unload"):
        return adapted
    # A model that reads the weights of an adapted layer by itself passes the adapter over, until it is in them.
    right = trial_logits(adapted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # T5's config calls every head tied; what the merged model says is compared
        merged = adapted.merge_and_unload()
    if not agree(trial_logits(merged), right):
        raise UserError(
            f"{what}: folded into the weights of {type(merged).__name__} the adapter is another than beside them; "
            "train it on other lora.target_modules, without layers whose weights the model reads by itself"
        )
    return merged


def merged_with(model: PreTrainedModel, adapter: str, key: str) -> PreTrainedModel:
    """The model with a LoRA adapter folded into its weights; one that was made for another model is a `UserError` that
    names the setting `key`."""
    peft, file = load_peft(), Path(adapter) / "adapter_model.safetensors"
    try:
        saved = load_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is looked at below
            adapted = peft.PeftModel.from_pretrained(model, adapter)
            placed = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{key}={adapter}: does not fit {type(model).__name__} or cannot be read ({reason}); expected "
            "adapter_config.json and adapter_model.safetensors of an adapter that was trained on these weights"
        ) from None
    # peft leaves at zero what it does not find, and drops what it has no place for: an adapter that does nothing.
    lost = sorted(name for name in saved.keys() | placed.keys() if not _same(saved.get(name), placed.get(name)))
    if lost:
        raise UserError(
            f"{key}={adapter}: {len(lost)} of its tensors have no place in the model or are missing ({lost[0]} …); it "
            f"was trained on another model than {model.name_or_path or type(model).__name__}"
        )
    merged = folded(adapted, f"{key}={adapter}")
    check_finite(merged, f"{key}={adapter}")
    return merged


def _same(saved: torch.Tensor | None, placed: torch.Tensor | None) -> bool:
    """Whether a tensor of the file is the one in the model, but for its type."""
    return saved is not None and placed is not None and torch.equal(saved.to(placed), placed)


def load_peft() -> Any:
    """The package peft; without it a `UserError` that says how to install it."""
    try:
        import peft
    except ImportError:
        raise UserError("LoRA needs the package peft, which is not installed; run `pip install 'srd[lora]'`") from None
    return peft
