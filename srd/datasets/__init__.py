"""Data sets by name: where each comes from (`source`, part of its fingerprint) and its rows (`load`)."""

from collections.abc import Iterator
from typing import Any, Protocol

from srd.config import Dataset
from srd.datasets import hub, jsonl, pydoc
from srd.datasets.minillm import SUITES


class Loader(Protocol):
    """A module or object that knows one data set."""

    def source(self, dataset: Dataset) -> dict[str, Any]:
        """What identifies the raw data: content digests, a hub commit, a version."""
        ...

    def load(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        """Raw rows: `instruction`, `input`, `output`, `split` (train, dev or test) and `where` (file and line)."""
        ...


DATASETS: dict[str, Loader] = {"pydoc": pydoc, "jsonl": jsonl, "hub": hub, **SUITES}


def has_prompts(name: str) -> bool:
    """Whether the rows of a data set ask for an answer; else they are text, which is read and not answered."""
    return getattr(DATASETS[name], "HAS_PROMPTS", True)
