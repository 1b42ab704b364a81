"""Difficulty ranking: signals to ranks, ranks to one order. Pure functions, free of input order."""

from collections.abc import Callable, Iterable
from typing import Any

from srd.errors import UserError
from srd.rows import Reflection

SIGNALS: dict[str, Callable[[Reflection], float]] = {"rouge_l": lambda row: -row.rouge_l, "nll": lambda row: row.nll}
"""Difficulty (larger is harder) of a reflection, by signal."""


def mean_ranks(difficulties: dict[str, float]) -> dict[str, float]:
    """Rank of every id, 1 = easiest; equal values share the mean of their ranks."""
    order = sorted(difficulties, key=lambda id: difficulties[id])
    ranks: dict[str, float] = {}
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and difficulties[order[end]] == difficulties[order[start]]:
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


def rank(reflections: list[Reflection], signals: list[str], k: float) -> list[dict[str, Any]]:
    """Rows `id, <signal>_rank…, fused, rank`, easiest first; what is still equal is ordered by id.

    A signal that is not a number (an empty reference has no NLL) is a `UserError` with the sample's id.
    """
    ranks: dict[str, dict[str, float]] = {}
    for signal in signals:
        values = {row.id: SIGNALS[signal](row) for row in reflections}
        broken = [id for id, value in values.items() if value != value]
        if broken:
            raise UserError(f"{signal} of sample {broken[0]} is not a number ({len(broken)} such); look at its reference")
        ranks[signal] = mean_ranks(values)
    fused = fuse(ranks.values(), k)
    order = sorted(fused, key=lambda id: (-fused[id], id))
    return [
        {"id": id, **{f"{signal}_rank": ranks[signal][id] for signal in signals}, "fused": fused[id], "rank": place}
        for place, id in enumerate(order, start=1)
    ]
