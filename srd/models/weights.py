"""Weights from files, exactly or not at all: what is missing, left over, of another shape or not a number is named.

`from_pretrained` draws at random what it does not find and drops what it has no place for. Here both are a `UserError`,
and so is everything else that makes loaded weights other than those that the files claim to hold.
"""

from collections.abc import Iterable
from os.path import commonpath
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError, StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from srd.errors import UserError, first_line
from srd.models.seq2seq import class_for

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    HfHubHTTPError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What the libraries raise for files that are cut, of another kind, or say what cannot be: a config's numbers are used
before anybody looks at them."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "base_model.model.", "module.")
"""What a compiled, sharded, checkpointed, adapted or parallel model puts into the names of its weights."""

PLAIN = ("F64", "F32", "F16", "BF16")
"""Types of weights that are their own values, as safetensors names them."""

NAMED = 2
"""Names of tensors in a message."""


def load_weights(where: str, key: str, **options: Any) -> PreTrainedModel:
    """The language model of a folder or hub name, every weight as in its files; `key` is the setting that named it.
    What does not fit is a `UserError`."""
    _check_types(Path(where), key)
    with_report = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    factory = class_for(config_json(where, options.get("revision")))
    model, report = from_hub(factory, where, key, **options, **with_report)
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UserError(
            f"{key}={where}: a LoRA adapter (adapter_config.json); name its base there and set "
            f"{key.replace('.name', '.adapter')}={where}"
        )
    if getattr(model, "hf_quantizer", None) is not None and "gguf_file" not in options:
        raise UserError(
            f"{key}={where}: its weights are quantised ({model.config.quantization_config.quant_method}), which cannot "
            "be trained or scored exactly; name the weights that it was made from"
        )
    _check_report(where, key, report)
    check_finite(model, f"{key}={where}")
    _check_values(Path(where), key, model)
    return model


def config_json(where: str, revision: str | None = None) -> dict[str, Any]:
    """The config of a folder or hub name as it is written there; nothing where there is none that can be read, which
    whoever loads the weights will say."""
    try:
        return PreTrainedConfig.get_config_dict(where, revision=revision)[0]
    except UNREADABLE:
        return {}


def _check_report(where: str, key: str, report: dict[str, Any]) -> None:
    """A `UserError` that names what the files did not have, had too much, or had in another shape."""
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    reshaped = sorted(f"{name} {list(found)} for {list(wanted)}" for name, found, wanted in report["mismatched_keys"])
    if not (missing or unexpected or reshaped or report["error_msgs"]):
        return
    wrapper = wrapped_by(missing, unexpected)
    if wrapper is not None:
        raise UserError(
            f"{key}={where}: all {len(missing)} weights are missing that carry '{wrapper}' in their names; "
            f"rename them: {renaming(where, wrapper)}"
        )
    parts = [
        f"{len(names)} weights {what} ({_some(names)})"
        for names, what in ((missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape"))
        if names
    ]
    parts += [str(message).strip().splitlines()[0] for message in report["error_msgs"]]
    raise UserError(
        f"{key}={where}: {'; '.join(parts)}; its files and its config.json belong to different models, "
        "save or download it again"
    )


def wrapped_by(missing: Iterable[str], unexpected: Iterable[str]) -> str | None:
    """The wrapper's word without which the unexpected names are the missing ones; none where that does not explain all
    of them."""
    wanted, found = set(missing), set(unexpected)
    if not wanted or not found:
        return None
    shared = commonpath([name.replace(".", "/") for name in found]).replace("/", ".") + "."
    fits = [word for word in (*WRAPPERS, shared) if {name.replace(word, "") for name in found} == wanted]
    return fits[0] if fits else None


def renaming(where: str, word: str) -> str:
    """A command that takes a word out of all names in a folder's weights."""
    return (
        f'python -c "import glob; from safetensors.torch import load_file, save_file; '
        f"[save_file({{k.replace('{word}', ''): t for k, t in load_file(f).items()}}, f, {{'format': 'pt'}}) "
        f"for f in glob.glob('{where}/*.safetensors')]\""
    )


def _check_types(folder: Path, key: str) -> None:
    """A `UserError` for whole or 8-bit numbers where weights are expected: they would be taken for the weights' values,
    which only a quantiser's scales make of them."""
    if not folder.is_dir() or "quantization_config" in _text(folder / "config.json"):
        return
    for path in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()
                kinds = {name: file.get_slice(name).get_dtype() for name in names}
        except SafetensorError as error:
            raise UserError(
                f"{key}={folder}: {path.name} is no safetensors file ({not_weights(path, error)})"
            ) from None
        coded = [f"{name} {kind}" for name, kind in kinds.items() if name.endswith("weight") and kind not in PLAIN]
        if coded:
            raise UserError(
                f"{key}={folder}: {len(coded)} weights are codes ({_some(coded)}) and config.json names no "
                "quantisation that they belong to; save the model with floating-point weights"
            )


def _check_values(folder: Path, key: str, model: nn.Module) -> None:
    """A `UserError` for a tensor whose first row is not that of its file: a class that draws tied or renamed weights
    anew tells nobody."""
    placed = model.state_dict()
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in set(file.keys()) & placed.keys():
                saved, tensor = file.get_slice(name), placed[name]
                if not saved.get_shape() or tensor.is_meta:
                    continue
                if not torch.equal(saved[:1].to(tensor), tensor[:1]):
                    raise UserError(
                        f"{key}={folder}: {name} is not what {path.name} holds once {type(model).__name__} has loaded "
                        "it (a fault of this version of transformers); take another architecture or version"
                    )


def not_weights(path: Path, error: Exception) -> str:
    """What a file is that does not open as safetensors."""
    begin = path.read_bytes()[:64] if path.stat().st_size < 1 << 20 else b""
    if begin.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; run `git lfs pull` in its repository"
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page; download the file itself"
    if path.stat().st_size == 0:
        return "empty; download it again"
    return f"{first_line(error)}; download it again"


def check_finite(model: nn.Module, what: str) -> None:
    """A `UserError` that names the tensors of `model` that are not finite numbers."""
    broken = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if not _is_finite(tensor)]
    if broken:
        raise UserError(
            f"{what}: {len(broken)} tensors hold NaN or infinity ({_some(broken)}); save or download the weights again"
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.is_meta:
        return True
    # A sum is finite only where all of its terms are, and takes no memory; large finite terms may still overflow it.
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return bool(torch.isfinite(tensor.sum(dtype=wide))) or bool(torch.isfinite(tensor).all())


def _some(names: list[str]) -> str:
    """A few of the names."""
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def from_hub(factory: Any, where: str, key: str, **options: Any) -> Any:
    """`factory.from_pretrained`, with one line for weights that cannot be had."""
    try:
        return factory.from_pretrained(where, **options)
    except ImportError as error:
        raise UserError(f"{key}={where} needs a package that is not installed ({first_line(error)})") from None
    except UNREADABLE as error:
        raise UserError(_not_loaded(where, key, options.get("revision"), error)) from None


def _not_loaded(where: str, key: str, revision: str | None, error: Exception) -> str:
    """What to say of weights that could not be loaded, which is another thing for a folder than for the hub."""
    reason = first_line(error)
    if Path(where).is_dir():
        return (
            f"{key}={where}: cannot be loaded ({reason}); expected config.json, model.safetensors and the tokenizer "
            "files of a causal language model, as save_pretrained leaves them"
        )
    at = f"@{revision}" if revision else ""
    return (
        f"{key}={where}{at}: cannot be loaded ({reason}); run again when the hub can be reached, or place config.json, "
        f"model.safetensors and the tokenizer files in a folder and set {key}=FOLDER"
    )
