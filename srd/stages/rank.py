"""rank: signals to an order of difficulty."""

from dataclasses import dataclass

import numpy as np

from srd.errors import UserError
from srd.metrics import BLIND
from srd.runtime.progress import say
from srd.selection.ranking import REFLECTIONS, SAMPLES, SCORES, SIGNALS, difficulties, rank, source_of
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.columns import Columns, read_columns, write_columns
from srd.store.manifests import read_manifest


@dataclass
class Settings:
    """What decides the order."""

    signals: list[str]
    rrf_k: float
    seed: int = 0
    """Of the signal `random`."""


def make(work: Work[Settings, None]) -> None:
    """Leave `ranking.jsonl`, easiest first."""
    settings, blind = work.settings, []
    if REFLECTIONS in work.inputs:
        blind = _blind(settings.signals, read_manifest(work.inputs[REFLECTIONS])["ledger"]["blind"])
    samples = read_samples(work, "train") if SAMPLES in work.inputs else []
    values = difficulties(settings.signals, samples, _measured(work), settings.seed)
    work.leaves.add("ranking.jsonl")
    # Equal for all, a signal moves no sample; its column stays, for what reads them all.
    values |= {name: np.zeros_like(values[name]) for name in blind}
    write_columns(work.path / "ranking.jsonl", rank(values, settings.rrf_k))


def _measured(work: Work[Settings, None]) -> dict[str, Columns]:
    """The columns of the signals that models have made, by source."""
    answered = REFLECTIONS in work.inputs
    files = {REFLECTIONS: "reflections.jsonl", **dict.fromkeys(SCORES.values(), "signals.jsonl")}
    return {
        source: read_columns(work.inputs[source] / file, {"id": str, **dict.fromkeys(names, float)})
        for source, file in files.items()
        if (names := [name for name in work.settings.signals if source_of(name, answered) == source])
    }


def _blind(signals: list[str], share_by_metric: dict[str, float]) -> list[str]:
    """The signals that cannot tell the samples apart, which is said; a `UserError` where none can."""
    shares = {name: share_by_metric.get(SIGNALS[name].metric or "", 0.0) for name in signals}
    blind = [name for name, share in shares.items() if share >= BLIND]
    if not blind:
        return []
    seen = ", ".join(f"{name} sees nothing in {100 * shares[name]:.0f} % of the references" for name in blind)
    if len(blind) == len(signals):
        raise UserError(
            f"rank.signals or filter.by {signals}: {seen}; expected a signal that can tell samples apart, such as nll"
        )
    say(f"rank: {seen}; {', '.join(name for name in signals if name not in blind)} alone orders the samples")
    return blind
