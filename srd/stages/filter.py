"""filter: the easiest (or the hardest) share λ of the ranking stays, or as many by one signal or by chance."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srd.selection.ranking import ENDS, chosen, easiest
from srd.store.artefacts import Work
from srd.store.columns import Columns, read_columns, write_columns


@dataclass
class Settings:
    """What decides who stays."""

    keep: float
    """λ."""
    end: str = "easiest"
    """Who stays: the easiest or the hardest."""


def make(work: Work[Settings, None]) -> None:
    """Leave `selection.jsonl`: the samples that are kept, in the ranking's order."""
    ranking, stays = _read(work.inputs["ranking"]), ENDS[work.settings.end]
    if "chooser" in work.inputs:
        ids = stays(_read(work.inputs["chooser"]), work.settings.keep)["id"]
        kept = easiest(chosen(ranking, np.isin(ranking["id"], ids)), 1)
    else:
        kept = stays(ranking, work.settings.keep)
    work.leaves.add("selection.jsonl")
    write_columns(work.path / "selection.jsonl", kept)


def _read(folder: Path) -> Columns:
    return read_columns(folder / "ranking.jsonl", {"id": str, "rank": int})
