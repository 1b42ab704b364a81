"""Whether two outputs folders are the same: every file byte for byte, but for times of day, speeds and machines."""

import json
from pathlib import Path
from typing import Any

TIMES = {"started", "hardware", "code", "packages", "digest", "peak_memory_bytes"}
"""Keys of a manifest that tell when and where; its own digest goes over them."""


def differences(ours: Path, sound: Path) -> list[str]:
    """What is missing, foreign or different under `ours`, by its path; in order."""
    here, there = files(ours), files(sound)
    found = [f"{name}: missing" for name in there - here]
    found += [f"{name}: foreign" for name in here - there]
    found += [f"{name}: different" for name in here & there if _content(ours / name) != _content(sound / name)]
    return sorted(found)


def files(outputs: Path) -> set[str]:
    """Every file under `outputs` that a run is answerable for: neither locks, nor reports, nor records of errors."""
    names = {path.relative_to(outputs).as_posix() for path in outputs.rglob("*") if not path.is_dir()}
    return {name for name in names if not name.endswith(".lock") and not _is_beside(name)}


def _is_beside(name: str) -> bool:
    first, *_ = parts = name.split("/")
    # Hydra's record of a sweep names the working directory.
    return first in ("errors", ".sweeps") or (first == "report" and "runs" not in parts)


def _content(path: Path) -> Any:
    """What has to be the same."""
    data = path.read_bytes()
    try:
        if path.name == "metrics.jsonl":
            return [_timeless(json.loads(line)) for line in data.splitlines()]
        if path.name == "manifest.json" or path.parent.name == "runs":
            record = _timeless(json.loads(data))
            for name in record.get("files", {}):
                if name.endswith("metrics.jsonl"):
                    record["files"][name] = record["files"][name]["rows"]  # speeds are among its columns
            return record
    except (ValueError, AttributeError, KeyError, TypeError):
        pass  # damaged: its bytes are what it is
    return data


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in TIMES and "second" not in key}
        return {key: _timeless(each) for key, each in kept.items()}
    return [_timeless(each) for each in value] if isinstance(value, list) else value
