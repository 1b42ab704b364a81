"""Columns are written as rows are, and read as they were; what is not such a file is one line."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srd.errors import UserError
from srd.store import columns
from srd.store.columns import read_columns, write_columns
from srd.store.rows import read_dicts, write_rows

NUMBERS = random.Random(1)
ROWS = [
    {"id": f'é{i}"\\\n{i:x}', "fused": NUMBERS.random() * 10 ** NUMBERS.randint(-9, 9), "rank": i} for i in range(500)
]


def test_columns_are_the_rows_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "AT_ONCE", 64)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    write_columns(tmp_path / "columns.jsonl", {key: np.array([row[key] for row in ROWS]) for key in ROWS[0]})
    assert (tmp_path / "columns.jsonl").read_bytes() == (tmp_path / "rows.jsonl").read_bytes()
    read = read_columns(tmp_path / "rows.jsonl", {"rank": int, "id": str, "fused": float})
    assert [read[key].tolist() for key in ("rank", "id", "fused")] == [
        [row[key] for row in ROWS] for key in ("rank", "id", "fused")
    ]
    assert len(read_dicts(tmp_path / "columns.jsonl")) == 500


def test_a_whole_number_is_a_float_where_one_is_asked(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"id": "a", "nll": 1}\n{"id": "b", "nll": NaN}\n{"id": "c", "nll": -Infinity}\n'
    )
    read = read_columns(tmp_path / "rows.jsonl", {"nll": float})["nll"]
    np.testing.assert_array_equal(read, [1.0, np.nan, -np.inf])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_float_that_json_has_no_word_for_is_refused_before_anything_is_written(tmp_path: Path, value: float) -> None:
    columns = {"id": np.array(["a", "b", "c"]), "fused": np.array([1.0, value, 2.0]), "rank": np.arange(3)}
    with pytest.raises(UserError, match=f"columns.jsonl: fused of row 2 is {value}; expected a finite number"):
        write_columns(tmp_path / "columns.jsonl", columns)
    assert not (tmp_path / "columns.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": "a", "nll": 1}\n{"id": "b"\n', "not rows of id, nll .*row 1"),
        ('{"id": "a", "nll": "x"}\n', "not rows of id, nll .*from number to string"),
        ('{"id": "a", "nll": 1}\n{"id": "b"}\n', "1 rows without nll"),
        ("", "not rows of id, nll .*Empty"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(UserError, match=said):
        read_columns(tmp_path / "rows.jsonl", {"id": str, "nll": float})


@pytest.mark.parametrize(
    "write", [lambda path: write_columns(path, {"id": np.array(["a"])}), lambda path: write_rows(path, [{"id": "a"}])]
)
def test_a_folder_in_the_place_of_rows_goes(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """What a killed run left is written anew whatever has become of it."""
    path = tmp_path / "rows.jsonl"
    (path / "inner").mkdir(parents=True)
    write(path)
    assert path.read_text() == '{"id": "a"}\n'
