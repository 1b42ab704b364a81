"""Documents of plain text: a local file or folder, or a data set of the hub, streamed until a token budget is met.

In a file named .txt a blank line ends a document; any other file has a document a row, in one column. Files may be
packed. Whatever else a document may be, it has no prompt: its text is the output of a sample.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srd.config import Dataset
from srd.datasets import hub, jsonl
from srd.datasets.columns import read_document
from srd.datasets.formats import read_objects, read_paragraphs
from srd.errors import UserError, require
from srd.store.files import known_digest

COLUMN = "text"
PLAIN_ENDINGS = (".txt", ".txt.gz", ".txt.bz2", ".txt.xz")
"""Endings of files in which blank lines end documents."""
BYTES_A_TOKEN = 8
"""What is streamed for a token, at most: twice what English has in today's vocabularies, so that the budget and the
documents held out are met without knowing the tokenizer here."""


def source(dataset: Dataset) -> dict[str, Any]:
    column = {"column": dataset.columns.text} if dataset.columns.text is not None else {}
    if dataset.path is None and dataset.hub is not None:
        return hub.origin(dataset) | column | {"bytes": streamed_bytes(dataset)}
    if jsonl.is_hub_folder(dataset):
        return hub.folder_source(Path(str(dataset.path)), dataset) | column
    jsonl.refuse_config_name(dataset)
    files = _files(dataset)
    if all(path.name.endswith(PLAIN_ENDINGS) for path in files.values()):
        expected = f"nothing beside {dataset.path}, which is plain text without columns"
        require(dataset.columns.text is None, "dataset.columns.text", dataset.columns.text, expected)
    return {split: known_digest(path) for split, path in files.items()} | column


def load(dataset: Dataset) -> Iterator[dict[str, Any]]:
    column = dataset.columns.text or COLUMN
    if dataset.path is None and dataset.hub is not None:
        splits = hub.split_rows(dataset.hub, dataset, streaming=True)
        most_bytes = streamed_bytes(dataset)
    elif jsonl.is_hub_folder(dataset):
        splits, most_bytes = hub.split_rows(str(dataset.path), dataset, streaming=True), None
    else:
        splits = ((split, _rows(path, column)) for split, path in _files(dataset).items())
        most_bytes = None
    for split, rows in splits:
        taken_bytes = 0
        for where, row in rows:
            document = read_document(row, column, where)
            yield document | {"split": split}
            taken_bytes += len(document["output"].encode())
            if most_bytes is not None and taken_bytes >= most_bytes:
                break


def streamed_bytes(dataset: Dataset) -> int:
    """Bytes of text that are read of each split of a data set of the hub; without a budget a `UserError`."""
    if dataset.tokens is None:
        raise UserError(
            f"dataset.tokens=null: {dataset.hub} is streamed until there is text for so many tokens; set it, as in "
            "dataset.tokens=80000000"
        )
    return BYTES_A_TOKEN * dataset.tokens


def _files(dataset: Dataset) -> dict[str, Path]:
    return jsonl.files(dataset, jsonl.NAMES, (*jsonl.ENDINGS, *PLAIN_ENDINGS))


def _rows(path: Path, column: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file; of one of plain text each paragraph is a row of the column."""
    if path.name.endswith(PLAIN_ENDINGS):
        return ((where, {column: paragraph}) for where, paragraph in read_paragraphs(path))
    return read_objects(path)
