"""The record of a finished artefact, and the records of everything that it was made from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from srd.errors import UserError

MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The record of a finished artefact."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: no such artefact; run `srd run` with its settings again") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{folder / MANIFEST}: damaged; delete the folder {folder} to make it again") from None


def long_name(stage: str, settings: dict[str, Any]) -> str:
    """The stage and whose it is, as a plan names it: finetune teacher, evaluate distill, cache."""
    return f"{stage} {settings.get('role' if stage == 'finetune' else 'target', '')}".strip()


def ancestry(outputs: Path, name: str) -> Iterable[dict[str, Any]]:
    """Manifests of an artefact and of everything it was made from, each once."""
    seen, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            manifest = read_manifest(outputs / current)
            waiting += manifest["inputs"].values()
            yield manifest
