"""Programming problems with tests: MBPP (arXiv 2108.07732) and HumanEval (arXiv 2107.03374).

From the hub at a pinned commit, or from a local file or folder whose rows have the hub's columns, or `instruction` and
`output` in place of two of them. A column `split` says where a row belongs, where all are in one file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from srd.config import ColumnNames, Dataset
from srd.datasets import hub, jsonl
from srd.datasets.columns import Reader, named_columns
from srd.datasets.formats import read_objects
from srd.errors import UserError
from srd.runtime.progress import say
from srd.store.files import known_digest

ASIDE = "prompt"
"""MBPP's rows for the examples of few-shot prompts, which nothing here reads."""


@dataclass(frozen=True)
class Tested:
    """A data set of problems: the file stems that hold each split, first match wins."""

    names: dict[str, list[str]]

    def source(self, dataset: Dataset) -> dict[str, Any]:
        if dataset.path is None:
            return hub.source(dataset)
        files = {split: known_digest(path) for split, path in jsonl.files(dataset, self.names).items()}
        return files | {"columns": named_columns(dataset.columns)}

    def load(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        if dataset.path is None:
            yield from hub.load(dataset)
            return
        for split, path in jsonl.files(dataset, self.names).items():
            aside, reader = 0, Reader(dataset.columns, str(path))
            for where, row in read_objects(path):
                reader.columns = _columns(dataset.columns, row)
                own = _split(row, where, split)
                aside += own == ASIDE
                if own != ASIDE:
                    yield reader.texts(row, where) | {"split": own}
            reader.used.add("split")
            reader.close()
            if aside:
                say(f"{path}: {aside} rows are for examples in prompts and are not used")


def _columns(columns: ColumnNames, row: Mapping[str, Any]) -> ColumnNames:
    """The columns of a row: those of the hub, or the usual names of the prompt and the solution."""
    usual = columns.output not in row and "output" in row
    return replace(columns, instruction="instruction", output="output") if usual else columns


def _split(row: Mapping[str, Any], where: str, split: str) -> str:
    """Where a row belongs: as it says, else as its file."""
    said = str(row.get("split", split))
    if said not in (*hub.SPLIT_NAMES, ASIDE):
        raise UserError(f"{where}: split={said!r}: expected {', '.join(hub.SPLIT_NAMES)} or {ASIDE}; mend the row")
    return hub.SPLIT_NAMES.get(said, said)


TESTED = {
    "mbpp": Tested({"train": ["mbpp", "train"], "dev": ["validation", "dev"], "test": ["test"]}),
    "humaneval": Tested({"test": ["humaneval", "test"]}),
}
