"""Any data set on the Hugging Face hub, by name, pinned commit and column names."""

from collections.abc import Iterator
from typing import Any

from srd.config import Dataset
from srd.datasets.jsonl import pick
from srd.errors import UserError
from srd.runtime.progress import say

SPLIT_NAMES = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}


def source(dataset: Dataset) -> dict[str, Any]:
    if dataset.path is not None:
        raise UserError(f"dataset.path={dataset.path}: the hub loader reads no local path; use dataset=jsonl")
    if dataset.hub is None or dataset.revision is None:
        raise UserError(
            f"dataset.hub={dataset.hub} dataset.revision={dataset.revision}: expected a hub name and the commit to "
            "pin; "
            "set both, or use dataset=jsonl dataset.path=FOLDER"
        )
    return {"hub": dataset.hub, "revision": dataset.revision, "columns": vars(dataset.columns)}


def load(dataset: Dataset) -> Iterator[dict[str, Any]]:
    splits = fetch(dataset)
    others = sorted(set(splits) - set(SPLIT_NAMES))
    if not set(splits) & set(SPLIT_NAMES):
        raise UserError(f"{dataset.hub}: splits {', '.join(others)}; expected train and, if any, validation and test")
    if others:
        say(f"{dataset.hub}: splits {', '.join(others)} are not used")
    for split, rows in splits.items():
        if split in others:
            continue
        for number, row in enumerate(rows):
            yield pick(row, f"{dataset.hub}/{split}[{number}]", dataset.columns) | {"split": SPLIT_NAMES[split]}


def fetch(dataset: Dataset, **options: Any) -> dict[str, Any]:
    """The splits of a hub data set; a hub out of reach is a `UserError` that says what to place where."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError

    datasets.disable_progress_bars()
    name = str(dataset.hub)
    try:
        return dict(datasets.load_dataset(name, revision=dataset.revision, **options))
    except (OSError, HfHubHTTPError, DatasetNotFoundError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"hub data set {name}@{dataset.revision}: cannot be fetched ({reason}); run again when the hub can be "
            "reached, "
            f"or place its rows as train.jsonl in a folder and set dataset=jsonl dataset.path=FOLDER"
        ) from None
