"""rank: signals to an order of difficulty."""

from dataclasses import dataclass

from srd.selection.ranking import SIGNALS, difficulties, rank
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.columns import read_columns, write_columns


@dataclass
class Settings:
    """What decides the order."""

    signals: list[str]
    rrf_k: float
    seed: int = 0
    """Of the signal `random`."""


def make(work: Work[Settings, None]) -> None:
    """Leave `ranking.jsonl`, easiest first."""
    settings = work.settings
    samples = read_samples(work, "train") if "samples" in work.inputs else []
    kinds = {"id": str, **{signal: float for signal in settings.signals if SIGNALS[signal].is_reflected}}
    reflections = (
        read_columns(work.inputs["reflections"] / "reflections.jsonl", kinds) if "reflections" in work.inputs else {}
    )
    values = difficulties(settings.signals, samples, reflections, settings.seed)
    work.leaves.add("ranking.jsonl")
    write_columns(work.path / "ranking.jsonl", rank(values, settings.rrf_k))
