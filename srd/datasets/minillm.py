"""MiniLLM's instruction data: Dolly to train on, and its five evaluation suites (arXiv 2306.08543).

From a local folder with MiniLLM's file names, or from the hub at a pinned commit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from srd.config import ColumnNames, Dataset
from srd.datasets import hub, jsonl
from srd.datasets.columns import DOLLY, Reader, read_texts
from srd.datasets.formats import read_objects
from srd.errors import UserError, require
from srd.store.files import known_digest

RAW_DEV_ROWS = 1000
"""MiniLLM's dev split is the first thousand rows of `raw.jsonl`."""


@dataclass(frozen=True)
class MiniLLM:
    """One of MiniLLM's data sets: the file stems that hold each split, first match wins."""

    names: dict[str, list[str]]

    def source(self, dataset: Dataset) -> dict[str, Any]:
        if dataset.path is None:
            self._check_hub(dataset)
            return hub.source(dataset)
        jsonl.refuse_config_name(dataset)
        for key, name in vars(dataset.columns).items():
            # Those of the hub's file stand in the option itself.
            usual = (getattr(ColumnNames(), key), getattr(DOLLY, key))
            expected = f"nothing beside a file of {dataset.name}, which has columns of its own; use dataset=jsonl"
            require(name in usual, f"dataset.columns.{key}", name, expected)
        return {split: known_digest(path) for split, path in jsonl.files(dataset, self.names).items()}

    def load(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        if dataset.path is None:
            yield from hub.load(dataset)
            return
        for split, path in jsonl.files(dataset, self.names).items():
            # MiniLLM's files have the usual columns; Databricks' own file is known by those that it has.
            reader = Reader(ColumnNames(), str(path))
            for number, row in enumerate(read_texts(read_objects(path), reader, split)):
                raw_dev = path.name.startswith("raw.") and number < RAW_DEV_ROWS
                yield row | {"split": "dev"} if raw_dev else row
            reader.close()

    def _check_hub(self, dataset: Dataset) -> None:
        if dataset.hub is None or dataset.revision is None:
            stem = next(iter(self.names.values()))[0]
            raise UserError(
                f"dataset '{dataset.name}': no local copy and no pinned hub commit; place {stem}.jsonl in a folder and "
                "set "
                f"its path (evaluate.path=FOLDER/.. or dataset.path=FOLDER), or set hub and revision"
            )


SUITES = {
    "dolly": MiniLLM(
        {
            "train": ["minillm_train", "train", "raw"],
            "dev": ["minillm_dev", "dev"],
            "test": ["minillm_test", "valid", "test"],
        }
    ),
    "self_inst": MiniLLM({"test": ["minillm_242", "valid"]}),
    "vicuna": MiniLLM({"test": ["vicuna_80", "valid"]}),
    "sinst": MiniLLM({"test": ["minillm_11_inf", "11_/valid", "valid"]}),
    "uinst": MiniLLM({"test": ["minillm_11_inf", "11_/valid", "valid"]}),
}
