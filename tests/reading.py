"""What a run has left on disk, read as it stands: one JSON document, or one a line."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The one JSON document of a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file with one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    """The file, in its folder, with one JSON document a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the artefact in `folder`."""
    return read_json(folder / "manifest.json")
