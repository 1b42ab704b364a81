"""Any local file of rows, or a folder with train, dev and test files; what a file is, its content says.

A folder fetched from the hub (a card with configs, shards in subfolders) is read as the hub's library reads it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srd.config import ColumnNames, Dataset
from srd.datasets import hub
from srd.datasets.columns import Reader, named_columns, read_texts
from srd.datasets.formats import check_readable, read_objects
from srd.errors import UserError
from srd.runtime.progress import say_once
from srd.store.files import known_digest

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".ndjson", ".parquet")
NAMES = {"train": ["train"], "dev": ["dev", "validation", "valid", "val", "eval"], "test": ["test"]}


def source(dataset: Dataset) -> dict[str, Any]:
    columns = {"columns": named_columns(dataset.columns)} if dataset.columns != ColumnNames() else {}
    if is_hub_folder(dataset):
        return hub.folder_source(Path(str(dataset.path)), dataset) | columns
    refuse_config_name(dataset)
    return {split: known_digest(path) for split, path in files(dataset, NAMES).items()} | columns


def load(dataset: Dataset) -> Iterator[dict[str, Any]]:
    if is_hub_folder(dataset):
        yield from hub.load_from(str(dataset.path), dataset)
        return
    reader = Reader(dataset.columns, str(dataset.path))
    for split, path in files(dataset, NAMES).items():
        yield from read_texts(read_objects(path), reader, split)
    reader.close()


def refuse_config_name(dataset: Dataset) -> None:
    if dataset.config_name is not None:
        raise UserError(
            f"dataset.config_name={dataset.config_name}: {dataset.path} is no hub data set with configs; leave it out"
        )


def is_hub_folder(dataset: Dataset) -> bool:
    """Whether the path is a folder without files of its own that the hub's library knows how to read."""
    folder = Path(str(dataset.path)).expanduser()
    if dataset.path is None or not folder.is_dir() or _present(folder, [s for stems in NAMES.values() for s in stems]):
        return False
    return hub.is_folder(folder)


def files(dataset: Dataset, names: dict[str, list[str]], endings: tuple[str, ...] = ENDINGS) -> dict[str, Path]:
    """The file of every split found under `dataset.path`, named by its stem and an ending; at least one, or a
    `UserError`.

    Two files for one split are a `UserError`, but for the alternatives that a suite names itself: there the first of
    its names counts.
    """
    if dataset.path is None:
        raise UserError(
            f"dataset.path is not set: dataset={dataset.name} reads a local file or folder; set dataset.path=FILE"
        )
    path = Path(dataset.path).expanduser()
    if not path.is_dir():
        check_readable(path, "dataset.path")
        return {next(iter(names)): path}
    found: dict[str, Path] = {}
    for split, stems in names.items():
        groups = [_present(path, [stem], endings) for stem in stems]
        present = [each for group in groups for each in group]
        if names is not NAMES:
            present = next((group for group in groups if group), [])
        if len(present) > 1:
            listed = " and ".join(each.name for each in present)
            raise UserError(f"dataset.path={path}: {listed} are both {split} data; leave one, or set dataset.path=FILE")
        if present:
            check_readable(present[0], "dataset.path")
            found[split] = present[0]
    others = sorted(each.name for each in path.iterdir() if each.name.endswith(endings) and each not in found.values())
    if not found:
        wanted = ", ".join(stem + endings[0] for stems in names.values() for stem in stems)
        there = f"; it has {', '.join(others[:5])}: set dataset.path to one of them" if others else ""
        raise UserError(f"dataset.path={path}: no data file in this folder; expected one of {wanted} (or .gz){there}")
    if others and names is NAMES:  # once, for the graph looks for the files again and again
        say_once(f"{path}: not read: {', '.join(others[:5])}{' …' if len(others) > 5 else ''}")
    return found


def _present(folder: Path, stems: list[str], endings: tuple[str, ...] = ENDINGS) -> list[Path]:
    candidates = [folder / (stem + ending) for stem in stems for ending in endings]
    return [candidate for candidate in candidates if candidate.exists()]
