"""JSON documents that vouch for themselves: a digest of all the rest stands among their values."""

import hashlib
import json
from pathlib import Path
from typing import Any

DIGEST = "digest"


def seal(record: dict[str, Any], indent: int | None = None) -> str:
    """The record as JSON text with its digest, ending in a newline."""
    return json.dumps({**record, DIGEST: _digest(record)}, indent=indent, ensure_ascii=False) + "\n"


def unseal(path: Path) -> dict[str, Any] | None:
    """The record in a sealed file; None where it is not as it was written, or was never sealed.

    A file that is not there is a `FileNotFoundError`.
    """
    try:
        record = json.loads(path.read_bytes())
    # What is not JSON or not UTF-8, a number of too many digits, brackets too deep, a folder in the file's place.
    except (ValueError, RecursionError, IsADirectoryError):
        return None
    if not isinstance(record, dict):
        return None
    digest = record.pop(DIGEST, None)
    return record if digest == _digest(record) else None


def _digest(record: dict[str, Any]) -> str:
    # Of what JSON makes of the record and not of the text: the order of keys and the blanks do not count.
    read_back = json.loads(json.dumps(record))
    return hashlib.sha256(json.dumps(read_back, sort_keys=True).encode()).hexdigest()
