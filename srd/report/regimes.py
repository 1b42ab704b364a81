"""Where an arm pays: its differences by number of pairs, epochs of the baseline and noise, as one picture.

Arms whose names end alike behind the first comma ("SRD, 20 epochs, 500 pairs", "plain, 20 epochs, 500 pairs") are of
one regime; what stands before the comma is what is compared.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srd.report.figures import first_runs
from srd.report.scores import Result
from srd.report.study import Run
from srd.report.verdict import Comparison

MARKERS = "os^Dv"
"""Of what is compared, in the order of the table."""


@dataclass(frozen=True)
class Data:
    """What an arm learned from."""

    pairs: int
    """Training samples."""
    noise: float
    """Share of them that is corrupted."""
    passes: float
    """Sample passes."""


@dataclass(frozen=True)
class Place:
    """A difference and the regime that it was found in."""

    name: str
    other: str
    pairs: int
    noise: float
    epochs: float
    """Passes over every pair by the arm of the regime that makes most of them."""
    found: Comparison


def data_of(runs: list[Run], rows: list[Result]) -> dict[str, Data]:
    """What the distilled arms learned from, by name."""
    passes = {row.arm: row.cost.sample_passes for row in rows}
    found = {}
    for run in first_runs(runs):
        if run.is_distilled:
            samples = next(each for each in run.lineage if each["stage"] == "samples")
            pairs, noise = samples["ledger"]["samples"]["train"], samples["settings"].get("corrupt", 0.0)
            found[run.arm] = Data(pairs, noise, passes[run.arm])
    return found


def places(compared: list[Comparison], data: dict[str, Data]) -> list[Place]:
    """The differences within regimes, where there are at least two: of the first metric and suite, which share an
    axis."""
    compared = [each for each in compared if (each.column, each.suite) == (compared[0].column, compared[0].suite)]
    epochs: dict[str, float] = defaultdict(float)
    for arm, each in data.items():
        epochs[_split(arm)[1]] = max(epochs[_split(arm)[1]], each.passes / each.pairs)
    found = []
    for each in compared:
        (name, regime), (other, theirs) = _split(each.arm), _split(each.other)
        if regime and regime == theirs:
            of = data[each.arm]
            found.append(Place(name, other, of.pairs, of.noise, round(epochs[regime], 1), each))
    return found if len({(place.pairs, place.noise, place.epochs) for place in found}) > 1 else []


def _split(arm: str) -> tuple[str, str]:
    name, _, regime = arm.partition(", ")
    return name, regime


def draw_regimes(found: list[Place]) -> Figure | None:
    """A column for each share of noise, a row for each arm that is compared with."""
    if not found:
        return None
    others, noises = (list(dict.fromkeys(values)) for values in zip(*((p.other, p.noise) for p in found), strict=True))
    noises = sorted(noises)
    figure = Figure(figsize=(5.5 * len(noises), 0.8 + 3 * len(others)), layout="constrained")
    grid = figure.subplots(len(others), len(noises), squeeze=False, sharey=True)
    for other, line in zip(others, grid, strict=True):
        for noise, axes in zip(noises, line, strict=True):
            _panel([place for place in found if (place.other, place.noise) == (other, noise)], found, axes)
            axes.set_title(f"against {other}, {100 * noise:.0f} % noise")
        line[0].set_ylabel(f"difference in {found[0].found.column}\n(95 % interval)")
    for axes in grid[-1]:
        axes.set_xlabel("epochs of the baseline")
    handles = {handle.get_label(): handle for line in grid for axes in line for handle in axes.containers}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(here: list[Place], all_places: list[Place], axes: Axes) -> None:
    """Side by side what has the same number of epochs; colours are numbers of pairs, markers what is compared."""
    epochs, pairs = sorted({place.epochs for place in all_places}), sorted({place.pairs for place in all_places})
    names = list(dict.fromkeys(place.name for place in all_places))
    axes.axhline(0, color="#222222", linewidth=1)
    for i, count in enumerate(pairs):
        for j, name in enumerate(names):
            shown = [place for place in here if (place.pairs, place.name) == (count, name)]
            offset = 0.8 * ((i * len(names) + j + 0.5) / (len(pairs) * len(names)) - 0.5)
            means = [place.found.mean for place in shown]
            spread = [
                [place.found.mean - place.found.low for place in shown],
                [place.found.high - place.found.mean for place in shown],
            ]
            axes.errorbar(
                [epochs.index(place.epochs) + offset for place in shown],
                means,
                yerr=spread,
                fmt=MARKERS[j % len(MARKERS)],
                color=_colour(i, pairs),
                markerfacecolor="none" if j else None,
                markersize=5,
                capsize=2,
                label=f"{name}, {count:,} pairs",
            )
    axes.set_xticks(range(len(epochs)), [f"{each:g}" for each in epochs])


def _colour(index: int, among: Sequence[int]) -> tuple[float, ...]:
    return mpl.colormaps["viridis"](index / max(1, len(among) - 0.5))
