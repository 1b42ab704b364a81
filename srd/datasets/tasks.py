"""The data sets of tasks: programming problems with tests (MBPP, arXiv 2108.07732; HumanEval, arXiv 2107.03374),
summaries (XSum, SciTLDR), translations (IWSLT 2017, Tatoeba) and mathematics (GSM8K).

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
class Task:
    """A data set of a task: the file stems that hold each split, first match wins."""

    names: dict[str, list[str]]

    def source(self, dataset: Dataset) -> dict[str, Any]:
        if _is_remote(dataset):
            return hub.source(dataset)
        files = {split: known_digest(path) for split, path in jsonl.files(dataset, self.names).items()}
        return files | {"columns": named_columns(dataset.columns)}

    def load(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        if _is_remote(dataset):
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


def _is_remote(dataset: Dataset) -> bool:
    return dataset.path is None and dataset.hub is not None


def _columns(columns: ColumnNames, row: Mapping[str, Any]) -> ColumnNames:
    """The columns of a row: those of the hub, or the usual names of the prompt and the solution."""
    if columns.output.partition(".")[0] in row or "output" not in row:
        return columns
    input = {"input": "input", "instruction_text": None} if columns.instruction_text is not None else {}
    return replace(columns, instruction="instruction", output="output", **input)


def _split(row: Mapping[str, Any], where: str, split: str) -> str:
    """Where a row belongs: as it says, else as its file."""
    said = str(row.get("split", split))
    if said not in (*hub.SPLIT_NAMES, ASIDE):
        raise UserError(f"{where}: split={said!r}: expected {', '.join(hub.SPLIT_NAMES)} or {ASIDE}; mend the row")
    return hub.SPLIT_NAMES.get(said, said)


STEMS = {"train": ["train"], "dev": ["validation", "dev"], "test": ["test"]}
TASKS = {
    "mbpp": Task({"train": ["mbpp", "train"], "dev": ["validation", "dev"], "test": ["test"]}),
    "humaneval": Task({"test": ["humaneval", "test"]}),
    **{name: Task(STEMS) for name in ("xsum", "scitldr", "iwslt2017", "gsm8k")},
    "tatoeba_en_de": Task(STEMS | {"train": ["train", "sample_10k"]}),
}
