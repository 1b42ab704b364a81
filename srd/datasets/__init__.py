"""Data sets by name: where each comes from (`source`, part of its fingerprint) and its rows (`load`)."""

from collections.abc import Iterator
from typing import Any, Protocol

from srd.config import TEXT, Dataset
from srd.datasets import hub, jsonl, pydoc, text
from srd.datasets.minillm import SUITES
from srd.datasets.tasks import TASKS


class Loader(Protocol):
    """A module or object that knows one data set."""

    def source(self, dataset: Dataset) -> dict[str, Any]:
        """What identifies the raw data: content digests, a hub commit, a version."""
        ...

    def load(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        """Raw rows: `instruction`, `input`, `output`, `split` (train, dev or test) and `where` (file and line);
        `system`, `tests`, `setup` and `entry_point` where a row has them.

        Of a document, the output is its text, and there is nothing else."""
        ...


DATASETS: dict[str, Loader] = {"pydoc": pydoc, "jsonl": jsonl, "hub": hub, TEXT: text, **SUITES, **TASKS}
