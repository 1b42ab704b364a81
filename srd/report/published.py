"""Published tables that a report prints beside ours; nothing in them was measured here."""

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def published() -> dict[str, Any]:
    """Tables by name: `source`, and `rows` of figures: ROUGE-L by suite, or others by their names."""
    return json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))


def published_table(named: dict[str, str], suites: set[str]) -> tuple[list[str], list[list[str]]] | None:
    """Published figures of other things than the study's `suites`, a line for each arm that names a row of a table, and
    one for the teacher; nothing where no arm's row has such."""
    tables = dict.fromkeys(name.partition("/")[0] for name in named.values())
    lines = {arm: _figures(name, suites) for arm, name in named.items()}
    lines |= {f"teacher ({table})": _figures(f"{table}/teacher", suites) for table in tables}
    columns = list(dict.fromkeys(column for found in lines.values() for column in found))
    if not columns:
        return None
    header = ["", *(column.replace("_", " ") for column in columns)]
    return header, [[arm, *(str(found.get(column, "")) for column in columns)] for arm, found in lines.items() if found]


def _figures(named: str, suites: set[str]) -> dict[str, float]:
    table, _, row = named.partition("/")
    return {name: value for name, value in published()[table]["rows"].get(row, {}).items() if name not in suites}
