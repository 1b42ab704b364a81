"""Row artefacts as columns: what ranks, filters and partitions a million rows needs of them, and no more.

The files are those of `srd.rows`, byte for byte; only the way in and out is another.
"""

from json.encoder import encode_basestring
from pathlib import Path

import numpy as np

from srd.errors import UserError

Columns = dict[str, np.ndarray]
"""Columns of equal length by name: text, float64 or int64."""


AT_ONCE = 1 << 16
"""Rows formatted at once."""


def read_columns(path: Path, kinds: dict[str, type]) -> Columns:
    """Some columns of a JSON Lines file, each `str`, `float` or `int`; other columns are not kept.

    A line that is not JSON, a row without one of the columns or with another kind of value is a `UserError`.
    """
    import pyarrow as arrow
    from pyarrow import json

    types = {str: arrow.string(), float: arrow.float64(), int: arrow.int64()}
    schema = arrow.schema([(name, types[kind]) for name, kind in kinds.items()])
    try:
        table = json.read_json(
            path, parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        )
    except arrow.ArrowInvalid as error:
        raise UserError(f"{path}: not rows of {', '.join(kinds)} ({error}); delete the folder and run again") from None
    for name in kinds:
        if table[name].null_count:
            raise UserError(f"{path}: {table[name].null_count} rows without {name}; delete the folder and run again")
    return {
        name: np.array(table[name].to_pylist()) if kind is str else table[name].to_numpy()
        for name, kind in kinds.items()
    }


def write_columns(path: Path, columns: Columns) -> None:
    """Write columns as JSON Lines, as `srd.rows.write_rows` would write their rows."""
    template = (
        "{"
        + ", ".join(f'"{name}": {"%s" if values.dtype.kind == "U" else "%r"}' for name, values in columns.items())
        + "}\n"
    )
    length = len(next(iter(columns.values())))
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, length, AT_ONCE):
            parts = (values[start : start + AT_ONCE].tolist() for values in columns.values())
            encoded = (map(encode_basestring, part) if part and isinstance(part[0], str) else part for part in parts)
            file.writelines(map(template.__mod__, zip(*encoded, strict=True)))
