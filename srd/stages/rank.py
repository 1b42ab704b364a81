"""rank: signals to an order of difficulty."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from srd.errors import UserError
from srd.metrics import BLIND
from srd.runtime.progress import say
from srd.selection.ranking import (
    REFLECTION_METRICS,
    REFLECTIONS,
    SAMPLES,
    SCORES,
    SIGNALS,
    difficulties,
    rank,
    source_of,
)
from srd.stages.grade import read_grades
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
    values = read_difficulties(work, work.settings)
    work.leaves.add("ranking.jsonl")
    write_columns(work.path / "ranking.jsonl", rank(values, work.settings.rrf_k))


def read_difficulties(work: Work[Any, None], settings: Settings) -> Columns:
    """A column `id` and one for each signal, larger is harder, from the inputs of an order of these settings; a signal
    that cannot tell samples apart is zero for all."""
    samples = read_samples(work, "train") if SAMPLES in work.inputs else []
    values = difficulties(settings.signals, samples, _measured(work, settings), settings.seed)
    blind = _blind(settings.signals, {**_sightless(work, settings), **_constant(settings.signals, values)})
    # Equal for all, a signal moves no sample; its column stays, for what reads them all.
    return values | {name: np.zeros_like(values[name]) for name in blind}


def _measured(work: Work[Any, None], settings: Settings) -> dict[str, Columns]:
    """The columns of the signals that models have made, by source."""
    files = {REFLECTIONS: "reflections.jsonl", **dict.fromkeys(SCORES.values(), "signals.jsonl")}
    by_source = _by_source(work, settings)
    found = {
        source: read_columns(work.inputs[source] / file, {"id": str, **dict.fromkeys(by_source[source], float)})
        for source, file in files.items()
        if source in by_source
    }
    graded = {source: names[0] for source, names in by_source.items() if source not in (SAMPLES, *files)}
    return found | {source: read_grades(work.inputs[source], name) for source, name in graded.items()}


def _by_source(work: Work[Any, None], settings: Settings) -> dict[str, list[str]]:
    """The signals of every source."""
    answered, found = REFLECTIONS in work.inputs, {}
    for name in settings.signals:
        found.setdefault(source_of(name, answered), []).append(name)
    return found


def _sightless(work: Work[Any, None], settings: Settings) -> dict[str, str]:
    """The signals of metrics that see nothing in most references, with what to say of them."""
    said = {}
    for source, names in _by_source(work, settings).items():
        for name in (name for name in names if SIGNALS[name].is_of_answers):
            shares = read_manifest(work.inputs[source])["ledger"]["blind"]
            share = shares[name] if name in shares else max(shares.values())
            if share >= BLIND:
                said[name] = f"{name} sees nothing in {100 * share:.0f} % of the references"
    return said


def _constant(signals: list[str], values: Columns) -> dict[str, str]:
    """The graded signals that are the same for all samples, with what to say of them: a verifier may accept no answer
    at all, and the order by id that is left says nothing of difficulty."""
    graded = [
        name for name in signals if SIGNALS[name].is_of_answers and SIGNALS[name].metric not in REFLECTION_METRICS
    ]
    constant = [name for name in graded if len(values["id"]) > 1 and np.ptp(values[name]) == 0]
    return {name: f"{name} is {abs(values[name][0]):g} for all {len(values['id']):,} samples" for name in constant}


def _blind(signals: list[str], said: dict[str, str]) -> list[str]:
    """The signals that cannot tell the samples apart, which is said; a `UserError` where none can."""
    blind = [name for name in signals if name in said]
    if not blind:
        return []
    seen = ", ".join(said[name] for name in blind)
    if len(blind) == len(signals):
        raise UserError(
            f"rank.signals or filter.by {signals}: {seen}; expected a signal that can tell samples apart, such as nll, "
            "or chrf of the answers"
        )
    say(f"rank: {seen}; {', '.join(name for name in signals if name not in blind)} alone orders the samples")
    return blind
