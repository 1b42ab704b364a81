"""Published tables that a report prints beside ours; nothing in them was measured here."""

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def published() -> dict[str, Any]:
    """Tables by name: `source`, and `rows` of ROUGE-L by row and suite."""
    return json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
