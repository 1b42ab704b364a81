"""filter: the easiest share λ of the ranking stays, or as many by one signal or by chance."""

import math
from pathlib import Path

import numpy as np

from srd.config import Config
from srd.errors import UserError
from srd.store.artefacts import Work
from srd.store.columns import Columns, read_columns, write_columns


def easiest(ranking: Columns, keep: float) -> Columns:
    """The first ⌊λN⌋ of the columns `id, rank`, in their order; none left is a `UserError`."""
    count = math.floor(len(ranking["rank"]) * keep + 1e-9)
    if count == 0:
        raise UserError(f"filter.keep={keep}: no samples left of {len(ranking['rank'])}; raise it or use more data")
    return chosen(ranking, np.argsort(ranking["rank"])[:count])


def chosen(ranking: Columns, rows: np.ndarray) -> Columns:
    """Some rows of the columns, by index or by truth value."""
    return {name: values[rows] for name, values in ranking.items()}


def make(cfg: Config, work: Work) -> None:
    ranking = _read(work.inputs["ranking"])
    if "chooser" in work.inputs:
        ids = easiest(_read(work.inputs["chooser"]), cfg.filter.keep)["id"]
        kept = easiest(chosen(ranking, np.isin(ranking["id"], ids)), 1)
    else:
        kept = easiest(ranking, cfg.filter.keep)
    write_columns(work.path / "selection.jsonl", kept)


def _read(folder: Path) -> Columns:
    return read_columns(folder / "ranking.jsonl", {"id": str, "rank": int})
