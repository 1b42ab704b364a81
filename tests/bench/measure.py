"""Two sides of a comparison in one run, turn about, and what is said of them."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

REPEATS = 3


@dataclass(frozen=True)
class Figure:
    """One measured number: the ratio of medians (theirs / ours) or a cost, with its spread over the repeats and its
    goal."""

    value: float
    spread: tuple[float, float]
    unit: str
    goal: str
    """As `>= 7` or `<= 20`."""
    shapes: str
    """What was measured, and what was extrapolated."""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        sign, limit = self.goal.split()
        return self.value >= float(limit) if sign == ">=" else self.value <= float(limit)


def ratio(theirs: list[float], ours: list[float], goal: str, shapes: str, **details: Any) -> Figure:
    """Theirs over ours: medians, spread over the pairs that ran next to each other."""
    pairs = [t / o for t, o in zip(theirs, ours, strict=True)]
    seconds = {"theirs": [round(t, 4) for t in theirs], "ours": [round(o, 4) for o in ours]}
    value = statistics.median(theirs) / statistics.median(ours)
    return Figure(value, (min(pairs), max(pairs)), "times", goal, shapes, seconds | details)


def cost(values: list[float], unit: str, goal: str, shapes: str, **details: Any) -> Figure:
    """A cost of ours alone: median and spread."""
    return Figure(
        statistics.median(values), (min(values), max(values)), unit, goal, shapes, {"each": values, **details}
    )


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds of `work(*arguments)`, the accelerator's included, and what it returned."""
    _wait()
    begin = time.perf_counter()
    result = work(*arguments)
    _wait()
    return time.perf_counter() - begin, result


def turn_about(
    sides: dict[str, Callable[[int], Any]], repeats: int = REPEATS
) -> tuple[dict[str, list[float]], dict[str, list[Any]]]:
    """Run every side once a repeat, each with the repeat's number: seconds and results by side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, list[Any]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name, work in sides.items():
            spent, result = timed(work, repeat)
            print(f"  {name}, {repeat + 1} of {repeats}: {spent:.2f} s", flush=True)
            seconds[name].append(spent)
            results[name].append(result)
    return seconds, results


def _wait() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
