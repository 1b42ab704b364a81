"""Any local JSON Lines file with an instruction, an optional input and an output; gzip too.

`dataset.path` is a file (all of it training data) or a folder with train, dev and test files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srd.config import ColumnNames, Dataset
from srd.errors import UserError
from srd.store.files import known_digest
from srd.store.rows import read_lines

ENDINGS = (".jsonl", ".jsonl.gz", ".json")


NAMES = {"train": ["train"], "dev": ["dev", "validation"], "test": ["test"]}


def source(dataset: Dataset) -> dict[str, Any]:
    columns = {"columns": vars(dataset.columns)} if dataset.columns != ColumnNames() else {}
    return {split: known_digest(path) for split, path in files(dataset, NAMES).items()} | columns


def load(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for split, path in files(dataset, NAMES).items():
        yield from read(path, split, dataset.columns)


def files(dataset: Dataset, names: dict[str, list[str]]) -> dict[str, Path]:
    """The file of every split found under `dataset.path`; at least one, or a `UserError`."""
    if dataset.path is None:
        raise UserError(
            f"dataset.path is not set: dataset={dataset.name} reads a local file or folder; set dataset.path=FILE"
        )
    path = Path(dataset.path)
    if path.is_file():
        return {next(iter(names)): path}
    if not path.is_dir():
        raise UserError(f"dataset.path={path}: no such file or folder; expected a .jsonl or .jsonl.gz file")
    found = {}
    for split, stems in names.items():
        candidates = [path / (stem + ending) for stem in stems for ending in ENDINGS]
        present = [candidate for candidate in candidates if candidate.is_file()]
        if present:
            found[split] = present[0]
    if not found:
        wanted = ", ".join(stem + ".jsonl" for stems in names.values() for stem in stems)
        raise UserError(f"dataset.path={path}: no data file in this folder; expected one of {wanted} (or .gz)")
    return found


def read(path: Path, split: str, columns: ColumnNames) -> Iterator[dict[str, Any]]:
    """The rows of one file as raw samples of a split."""
    for where, row in read_lines(path):
        yield pick(row, where, columns) | {"split": split}


def pick(row: dict[str, Any], where: str, columns: ColumnNames) -> dict[str, Any]:
    """The three texts of a foreign row by its column names."""
    for key in (columns.instruction, columns.output):
        if key not in row:
            raise UserError(
                f"{where}: no column '{key}'; found {', '.join(row) or 'none'}; name it with dataset.columns.*"
            )
    instruction, text, output = row[columns.instruction], row.get(columns.input) or "", row[columns.output]
    texts = [instruction, text, *(output if isinstance(output, list) else [output])]
    if not all(isinstance(value, str) for value in texts):
        raise UserError(f"{where}: instruction, input and output must be text (output may be a list of texts)")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: not text that UTF-8 can hold ({error.reason}); mend the row") from None
    return {"instruction": instruction, "input": text, "output": output, "where": where}
