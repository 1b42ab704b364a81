"""Any data set on the Hugging Face hub, by name, pinned commit and column names, or a folder fetched from it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srd.config import Dataset
from srd.datasets.columns import Reader, named_columns, read_texts
from srd.errors import UserError, first_line, nearest
from srd.runtime.progress import say
from srd.store.files import known_digest

SPLIT_NAMES = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
SHARD_NAMES = tuple(f"{split}-" for split in SPLIT_NAMES)
"""How the hub's files of a split begin, in the folder itself or in `data/`: train-00000-of-00002.parquet."""
SHARDS = ("*.parquet", "*.jsonl", "*.json", "*.jsonl.gz", "*.json.gz")


def source(dataset: Dataset) -> dict[str, Any]:
    return origin(dataset) | {"columns": named_columns(dataset.columns)}


def origin(dataset: Dataset) -> dict[str, Any]:
    """What identifies the files, whichever of their columns are read."""
    if dataset.path is not None:
        raise UserError(f"dataset.path={dataset.path}: the hub loader reads no local path; use dataset=jsonl")
    if dataset.hub is None or (dataset.revision is None and not Path(dataset.hub).is_dir()):
        raise UserError(
            f"dataset.hub={dataset.hub} dataset.revision={dataset.revision}: expected a hub name and the commit to "
            "pin; set both, or use dataset=jsonl dataset.path=FOLDER"
        )
    if Path(dataset.hub).is_dir():
        return folder_source(Path(dataset.hub), dataset)
    return {"hub": dataset.hub, "revision": dataset.revision, **_config(dataset)}


def load(dataset: Dataset) -> Iterator[dict[str, Any]]:
    yield from load_from(str(dataset.hub), dataset)


def load_from(name: str, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The rows of a data set by its name on the hub or its folder."""
    reader = Reader(dataset.columns, name)
    for split, rows in split_rows(name, dataset):
        yield from read_texts(rows, reader, split)
    reader.close()


def split_rows(name: str, dataset: Dataset, **options: Any) -> Iterator[tuple[str, Iterator[tuple[str, Any]]]]:
    """Every split that is used, by our name for it, with the place and the columns of each of its rows; `options` as
    for `fetch`."""
    splits = fetch(name, dataset, **options)
    others = sorted(set(splits) - set(SPLIT_NAMES))
    if not set(splits) & set(SPLIT_NAMES):
        raise UserError(f"{name}: splits {', '.join(others)}; expected train and, if any, validation and test")
    if others:
        say(f"{name}: splits {', '.join(others)} are not used")
    for split, rows in splits.items():
        if split not in others:
            yield SPLIT_NAMES[split], _placed(name, split, rows, dataset)


def _placed(name: str, split: str, rows: Iterable[Any], dataset: Dataset) -> Iterator[tuple[str, Any]]:
    with _reachable(name, dataset):
        for number, row in enumerate(rows):
            yield f"{name}/{split}[{number}]", row


def is_folder(folder: Path) -> bool:
    """Whether a folder looks as one of the hub's: a card that names configs, or files of splits by its rules."""
    card = folder / "README.md"
    names = card.is_file() and "configs:" in card.read_text(encoding="utf-8", errors="replace")
    # Nothing else is guessed: the hub's library takes any file in any subfolder for training data.
    places = [folder, folder / "data"]
    return names or any(path.parent in places and path.name.startswith(SHARD_NAMES) for path in _shards(folder))


def folder_source(folder: Path, dataset: Dataset) -> dict[str, Any]:
    """What identifies a folder: the content of its data files and of its card."""
    paths = [*_shards(folder), *(path for path in [folder / "README.md"] if path.is_file())]
    return {"files": {str(path.relative_to(folder)): known_digest(path) for path in paths}, **_config(dataset)}


def _config(dataset: Dataset) -> dict[str, str]:
    return {"config_name": dataset.config_name} if dataset.config_name is not None else {}


def _shards(folder: Path) -> list[Path]:
    return sorted(path for pattern in SHARDS for path in folder.rglob(pattern) if path.is_file())


def fetch(name: str, dataset: Dataset, **options: Any) -> dict[str, Any]:
    """The splits of a hub data set; a hub out of reach is a `UserError` that says what to place where."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    revision = None if Path(name).is_dir() else dataset.revision
    with _reachable(name, dataset):
        configs = datasets.get_dataset_config_names(name, revision=revision)
        _check_config(name, dataset, configs)
        return dict(datasets.load_dataset(name, dataset.config_name, revision=revision, **options))


@contextmanager
def _reachable(name: str, dataset: Dataset) -> Iterator[None]:
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (OSError, HfHubHTTPError, DatasetNotFoundError, DatasetGenerationError, ValueError) as error:
        raise UserError(
            f"hub data set {name}@{dataset.revision}: cannot be fetched ({first_line(error)}); run again when the hub "
            "can be reached, or place its rows as train.jsonl in a folder and set "
            f"dataset={'text' if dataset.is_text else 'jsonl'} dataset.path=FOLDER"
        ) from None


def _check_config(name: str, dataset: Dataset, configs: list[str]) -> None:
    """A `UserError` with the configs where one of several has to be chosen, or another was."""
    if dataset.config_name is None and len(configs) > 1 and "default" not in configs:
        raise UserError(
            f"dataset.config_name is not set: {name} has the configs {', '.join(configs)}; "
            f"choose one, as in dataset.config_name={configs[0]}"
        )
    if dataset.config_name is not None and dataset.config_name not in configs:
        raise UserError(
            f"dataset.config_name={dataset.config_name}: not one of {name}; {nearest(dataset.config_name, configs)}"
        )
