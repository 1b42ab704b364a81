"""Difficulty ranking: signals to ranks, ranks to one order. Pure functions, free of input order."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from srd.errors import UserError
from srd.rows import Reflection, Sample

REFLECTED: dict[str, Callable[[Reflection], float]] = {"rouge_l": lambda row: -row.rouge_l, "nll": lambda row: row.nll}
"""Difficulty (larger is harder) of a reflection, by signal."""


def chance(id: str, seed: int | str) -> float:
    """A number in [0, 1) drawn for one id: the same whatever other ids there are.

    Two draws that must not know of each other need different words in their seeds.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {id}".encode()).digest()[:7]) / 2**56


WRITTEN: dict[str, Callable[[Sample, int], float]] = {
    "length": lambda sample, seed: float(len(sample.references[0])),
    "random": lambda sample, seed: chance(sample.id, seed),
}
"""Difficulty of a sample by signals that need no student: characters of the response; a seeded random number."""

SIGNALS: dict[str, Callable[..., float]] = {**REFLECTED, **WRITTEN}


def difficulties(signals: list[str], samples: list[Sample], reflections: list[Reflection], seed: int) -> dict[str, dict[str, float]]:
    """Difficulty of every sample, by signal and id; a value that is not a number is a `UserError` with its sample's id."""
    found = {
        signal: {row.id: REFLECTED[signal](row) for row in reflections}
        if signal in REFLECTED
        else {sample.id: WRITTEN[signal](sample, seed) for sample in samples}
        for signal in signals
    }
    for signal, values in found.items():
        broken = [id for id, value in values.items() if value != value]
        if broken:
            raise UserError(f"{signal} of sample {broken[0]} is not a number ({len(broken)} such); look at its reference")
    return found


def mean_ranks(values: dict[str, float]) -> dict[str, float]:
    """Rank of every id, 1 = smallest; equal values share the mean of their ranks."""
    order = sorted(values, key=lambda id: values[id])
    ranks: dict[str, float] = {}
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for id in order[start:end]:
            ranks[id] = (start + 1 + end) / 2
        start = end
    return ranks


def fuse(ranks: Iterable[dict[str, float]], k: float) -> dict[str, float]:
    """Reciprocal rank fusion: Σ over signals of 1 / (k + rank), larger is easier (Cormack et al. 2009; SRD, k = 60)."""
    fused: dict[str, float] = {}
    for of_signal in ranks:
        for id, rank in of_signal.items():
            fused[id] = fused.get(id, 0.0) + 1.0 / (k + rank)
    return fused


def rank(signals: dict[str, dict[str, float]], k: float) -> list[dict[str, Any]]:
    """Rows `id, <signal>_rank…, fused, rank`, easiest first, from `difficulties`; what is still equal is ordered by id."""
    ranks = {signal: mean_ranks(values) for signal, values in signals.items()}
    fused = fuse(ranks.values(), k)
    order = sorted(fused, key=lambda id: (-fused[id], id))
    return [
        {"id": id, **{f"{signal}_rank": ranks[signal][id] for signal in signals}, "fused": fused[id], "rank": place}
        for place, id in enumerate(order, start=1)
    ]


def roc_auc(ranks: dict[str, float], positives: set[str]) -> float:
    """Chance that a positive is ranked above (harder than) a negative, ties half: the area under the ROC curve.

    By the rank sum of the positives (Mann and Whitney 1947).
    """
    hits = [rank for id, rank in ranks.items() if id in positives]
    others = len(ranks) - len(hits)
    assert len(hits) * others > 0, "an area under the curve needs both kinds"
    return (sum(hits) - len(hits) * (len(hits) + 1) / 2) / (len(hits) * others)
