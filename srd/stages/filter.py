"""filter: the easiest share λ of the ranking stays, or as many by one signal or by chance."""

from pathlib import Path

import numpy as np

from srd.config import Config
from srd.selection.filter import chosen, easiest
from srd.store.artefacts import Work
from srd.store.columns import Columns, read_columns, write_columns


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
