"""JSON documents that vouch for themselves: a digest of all the rest stands among their values."""

import hashlib
import json
from typing import Any

DIGEST = "digest"


def seal(record: dict[str, Any], indent: int | None = None) -> str:
    """The record as JSON text with its digest, ending in a newline."""
    return json.dumps({**record, DIGEST: _digest(record)}, indent=indent, ensure_ascii=False) + "\n"


def unseal(text: str | bytes) -> dict[str, Any] | None:
    """The record of a sealed text; None where it is not as it was written, or was never sealed."""
    try:
        record = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    digest = record.pop(DIGEST, None)
    return record if digest == _digest(record) else None


def _digest(record: dict[str, Any]) -> str:
    # Of what JSON makes of the record and not of the text: the order of keys and the blanks do not count.
    read_back = json.loads(json.dumps(record))
    return hashlib.sha256(json.dumps(read_back, sort_keys=True).encode()).hexdigest()
