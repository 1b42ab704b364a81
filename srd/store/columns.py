"""Row artefacts as columns: what ranks, filters and partitions a million rows needs of them, and no more.

The files are those of `srd.rows`, byte for byte; only the way in and out is another.
"""

from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import numpy as np

from srd.errors import UserError
from srd.store.files import anew

Columns = dict[str, np.ndarray]
"""Columns of equal length by name: text, float64 or int64."""


# A column becomes a list of Python objects before it is text: those of a whole file would be several times its size.
AT_ONCE = 1 << 16
"""Rows formatted at once."""


def read_columns(path: Path, kinds: dict[str, type]) -> Columns:
    """The named columns of a JSON Lines file, each `str`, `float` or `int`; other columns are not kept.

    A line that is not JSON, a row without one of the columns or with another kind of value is a `UserError`.
    """
    import pyarrow as arrow
    from pyarrow import json

    # Parsed by pyarrow, which reads a million rows in a second; imported here, because the graph imports this file. The
    # types are given, not guessed: a float column may begin with whole numbers.
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
    # Text as numpy's own fixed-width kind, which sorts and compares without a Python object a row.
    return {
        name: np.array(table[name].to_pylist()) if kind is str else table[name].to_numpy()
        for name, kind in kinds.items()
    }


def write_columns(path: Path, columns: Columns) -> None:
    """Write columns as JSON Lines, as `srd.rows.write_rows` would write their rows.

    A float that is not finite is a `UserError`: JSON has no word for it.
    """
    # `json.dumps` wants a dict and a call for every row; one `%` a row takes less than half of that time (a million
    # rows in 1.5 s, not 3.5). It is the same text only as long as "%r" of a number is its JSON. That is so for int and
    # float, because both writers use the shortest digits that give the number back, but not for NaN and the
    # infinities: those are looked for first, a column at a time.
    for name, values in columns.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise UserError(
                f"{path}: {name} of row {row + 1} is {values[row]}; expected a finite number; look at its sample"
            )
    # Text goes through json's own encoder for the quotes and escapes, so its place in the template is a bare "%s".
    formats = {name: "%s" if values.dtype.kind == "U" else "%r" for name, values in columns.items()}
    template = "{" + ", ".join(f'"{name}": {spec}' for name, spec in formats.items()) + "}\n"
    length = len(next(iter(columns.values())))
    with anew(path).open("w", encoding="utf-8") as file:
        for start in range(0, length, AT_ONCE):
            chunks = [_json_values(values[start : start + AT_ONCE]) for values in columns.values()]
            file.writelines(template % row for row in zip(*chunks, strict=True))


def _json_values(values: np.ndarray) -> list[Any]:
    """Python numbers for "%r", JSON strings for "%s"; `tolist`, because the repr of a numpy number names its type."""
    if values.dtype.kind == "U":
        return [encode_basestring(text) for text in values.tolist()]
    return values.tolist()
