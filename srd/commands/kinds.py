"""Two models of one kind, and what does not go with an encoder: checked before any work, as far as files tell."""

import json
from pathlib import Path
from typing import Any

from srd.config import ENCODER_DECODERS, Config, Side
from srd.errors import UserError, require


def check_kinds(cfg: Config) -> None:
    """A `UserError` for a pair of two kinds, for one that `model.encoder_decoder` is wrong of, and for what an
    encoder-decoder pair cannot do. Of weights on the hub the stages say it that load them."""
    kinds = {role: has_encoder(cfg.model.side(role)) for role in ("teacher", "student")}
    if None not in kinds.values() and kinds["teacher"] != kinds["student"]:
        words = {role: "an encoder-decoder" if kind else "a decoder-only" for role, kind in kinds.items()}
        raise UserError(
            f"model.teacher is {words['teacher']} model and model.student {words['student']} one: their prompts are "
            "not the same text; choose two models of one kind"
        )
    wanted = cfg.model.encoder_decoder
    for role, kind in kinds.items():
        have = "has an encoder" if kind else f"has none (known are {', '.join(ENCODER_DECODERS)})"
        expected = f"{str(kind).lower()}: model.{role} {have}"
        require(kind in (None, wanted), "model.encoder_decoder", str(wanted).lower(), expected)
    if wanted:
        _check_encoder(cfg)


def has_encoder(side: Side) -> bool | None:
    """Whether a side is an encoder-decoder model; none where no file at hand tells."""
    settings = side.architecture if side.architecture is not None else _json(side, "config.json")
    if settings is None:
        return False if side.gguf_file is not None else None
    return bool(settings.get("is_encoder_decoder", settings.get("model_type") in ENCODER_DECODERS))


def _check_encoder(cfg: Config) -> None:
    """A `UserError` for what an encoder-decoder pair cannot do."""
    text = "another data set: windows of plain text have no prompts for the encoder of model.encoder_decoder=true"
    require(not cfg.dataset.is_text, "dataset.name", cfg.dataset.name, text)
    for name, suite in cfg.evaluate.suites.items():
        require(suite is None or not suite.is_text, f"evaluate.suites.{name}", getattr(suite, "name", None), text)
    path, expected = cfg.method.corpus.path, "null: plain text has no prompts for the encoder"
    require(path is None, "method.corpus.path", path, expected)
    backend, expected = cfg.engine.generation_backend, "transformers: vLLM has no encoder-decoder models"
    require(backend != "vllm", "engine.generation_backend", backend, expected)
    for role in ("teacher", "student"):
        side = cfg.model.side(role)
        require(side.gguf_file is None, f"model.{role}.gguf_file", side.gguf_file, "null for an encoder-decoder model")
        rows, tokens = (_json(side, "config.json") or {}).get("vocab_size"), _tokens(side)
        if rows is not None and rows < tokens:
            raise UserError(
                f"model.{role}.name={side.name}: {rows} rows of the vocabulary for ids up to {tokens - 1} of its "
                "tokenizer; its tokenizer belongs to another model"
            )


def _tokens(side: Side) -> int:
    """One more than the largest id of a folder's tokenizer; 0 where there is none to read."""
    written = _json(side, "tokenizer.json") or {}
    vocabulary = written.get("model", {}).get("vocab", {})
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    return 1 + max([*ids, *(token["id"] for token in written.get("added_tokens", []))], default=-1)


def _json(side: Side, name: str) -> dict[str, Any] | None:
    """A file of a side's folder; none where there is none, or none that can be read, which loading it will say."""
    path = Path(str(side.name)) / name
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if side.name is not None and path.is_file() else None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
