"""The report's pictures as files, for Markdown: differences, cost against score, training curves, difficulty."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srd.metrics import CRITERIA, METRICS
from srd.report.figures import COSTS, SMOOTHING, Curve, Point, curves, first_runs, planes
from srd.report.regimes import data_of, draw_regimes, places
from srd.report.scores import Result
from srd.report.study import Run
from srd.report.verdict import Comparison, comparisons_of
from srd.store.manifests import file_of
from srd.store.rows import Phase, Reflection, read_rows

mpl.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "figure.dpi": 130,
        "text.parse_math": False,  # a dollar in an arm's name is a dollar
    }
)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
"""Okabe and Ito's palette, distinct for colour-blind readers."""


def draw(runs: list[Run], rows: list[Result], metric: str, folder: Path) -> dict[str, Path]:
    """Write every plot that the study has data for, dev curves by `metric`; returns their paths by title."""
    figures = {
        "Differences": ("differences.png", _forest(comparisons_of(rows))),
        "Where it pays": ("regimes.png", draw_regimes(places(comparisons_of(rows), data_of(runs, rows)))),
        "Cost against score": ("cost.png", _cost(rows, runs)),
        f"Training loss and dev {CRITERIA[metric].column}": ("training.png", _training(runs, metric)),
        "Difficulty by phase": ("difficulty.png", _difficulty(runs)),
    }
    paths = {}
    for title, (name, figure) in figures.items():
        if figure is not None:
            paths[title] = folder / name
            figure.savefig(paths[title])
    return paths


def _forest(found: list[Comparison]) -> Figure | None:
    """Each difference with its interval, a panel for each thing that differs."""
    if not found:
        return None
    columns = list(dict.fromkeys(each.column for each in found))
    panels = [[each for each in found if each.column == column] for column in columns]
    heights = [0.9 + 0.32 * len(panel) for panel in panels]
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for column, panel, axes in zip(columns, panels, grid, strict=True):
        for place, each in enumerate(panel):
            spread = [[each.mean - each.low], [each.high - each.mean]]
            colour = {"better": COLOURS[2], "worse": COLOURS[1], "level": "#666666"}[each.outcome]
            axes.errorbar(each.mean, place, xerr=spread, fmt="o", color=colour, capsize=3)
        axes.axvline(0, color="#222222", linewidth=1)
        axes.set_ylim(len(panel) - 0.5, -0.5)
        axes.set_yticks(range(len(panel)), [f"{each.arm} − {each.other}, {each.suite}" for each in panel])
        better = "right" if panel[0].higher_is_better else "left"
        axes.set_xlabel(f"difference in {column} with its 95 % interval (better to the {better})")
    return figure


def _panels(runs: list[Run]) -> list[tuple[str, list[Run]]]:
    """Runs that share a panel: all of them where the colours suffice, else those of each method."""
    if len(runs) <= len(COLOURS):
        return [("", runs)]
    return [
        (method, [run for run in runs if run.method == method]) for method in dict.fromkeys(run.method for run in runs)
    ]


def _coloured(runs: list[Run]) -> list[tuple[Run, Any]]:
    """Runs of a panel with a colour each."""
    maps = (mpl.colormaps[name] for name in ("tab20", "tab20b", "tab20c"))
    many = [colour for each in maps for colour in each.colors]  # pyright: ignore[reportAttributeAccessIssue]
    return list(zip(runs, (COLOURS if len(runs) <= len(COLOURS) else many) * 9, strict=False))


def _heights(panels: list[tuple[str, list[Run]]]) -> list[float]:
    """Inches of each panel: its legend, a line a run, must not be higher than the plot beside it."""
    return [max(3.4, 0.25 * (len(of_panel) + 4)) for _, of_panel in panels]


def _legend(axes: Axes, title: str) -> None:
    """To the right of the axes, where it hides nothing however long it is."""
    axes.legend(
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        title=title or None,
        alignment="left",
    )


def _training(runs: list[Run], metric: str) -> Figure | None:
    by_arm = {curve.arm: curve for curve in curves(runs, metric)}
    if not by_arm:
        return None
    panels = _panels([run for run in first_runs(runs) if run.arm in by_arm])
    heights = _heights(panels)
    figure = Figure(figsize=(12, sum(heights)), layout="constrained")
    grid = figure.subplots(len(panels), 2, sharex=True, squeeze=False, height_ratios=heights)
    for (method, of_panel), (loss, dev) in zip(panels, grid, strict=True):
        for run, colour in _coloured(of_panel):
            _draw_curve(by_arm[run.arm], colour, loss, dev)
        loss.set_ylabel(f"training loss, nats/token\n(mean of {SMOOTHING} steps)")
        dev.set_ylabel(f"dev {CRITERIA[metric].column}")
        _legend(dev, method)
    for axes in grid[-1]:
        axes.set_xlabel("optimiser step (dotted: phase borders)")
    return figure


def _draw_curve(curve: Curve, colour: Any, loss: Axes, dev: Axes) -> None:
    loss.plot(*_columns(curve.loss), color=colour, linewidth=1.2)
    # A run that chose its weights by another metric has no curve of this one, but keeps its place in the legend.
    dev.plot(*_columns(curve.dev), "o-", color=colour, markersize=3, linewidth=1.2, label=curve.arm)
    for border in curve.borders:
        for axes in (loss, dev):
            axes.axvline(border, color=colour, linestyle=":", linewidth=1)


def _columns(pairs: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
    return [step for step, _ in pairs], [value for _, value in pairs]


def _difficulty(runs: list[Run]) -> Figure | None:
    """Both signals of the first curated arm that reflected, coloured by the phase that a sample enters in."""
    reflected = [run for run in first_runs(runs) if run.curated and run.folders("reflect")]
    if not reflected:
        return None
    run = reflected[0]
    reflections = read_rows(file_of(run.folders("reflect")[0], "reflections.jsonl"), Reflection)
    phases = read_rows(file_of(run.folders("partition")[0], "phases.jsonl"), Phase)
    shown, metric = next((name, METRICS[name]) for name in METRICS if name in reflections[0].metrics)
    first = {id: phase.phase for phase in reversed(phases) for id in phase.ids}
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes: Axes = figure.subplots()
    for number in [*(phase.phase for phase in phases), None]:
        rows = [row for row in reflections if first.get(row.id) == number]
        label = f"dropped ({len(rows)})" if number is None else f"enters in phase {number + 1} ({len(rows)})"
        colour = "#999999" if number is None else mpl.colormaps["viridis"](number / max(1, len(phases) - 0.5))
        axes.scatter(
            [row.nll for row in rows],
            [metric.scale * row.metrics[shown] for row in rows],
            s=9,
            alpha=0.65,
            color=colour,
            label=label,
            linewidths=0,
        )
    axes.set_xlabel("NLL of the reference, nats/token (harder →)")
    axes.set_ylabel(f"{metric.column} of the student's answer (easier {'↑' if metric.higher_is_better else '↓'})")
    axes.legend(frameon=False, markerscale=2, title=run.arm)
    return figure


def _cost(rows: list[Result], runs: list[Run]) -> Figure | None:
    """Of the first suite: score against seconds, and the arms that no other beats at its cost."""
    plane = next(iter(planes(rows)), None)
    if plane is None:
        return None
    by_arm = {point.arm: point for point in plane.points if point.is_arm}
    panels = _panels([run for run in first_runs(runs) if run.arm in by_arm])
    heights = _heights(panels)
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False, height_ratios=heights)[:, 0]
    front, untrained = plane.front("seconds"), [point for point in plane.points if not point.is_arm]
    for (method, of_panel), axes in zip(panels, grid, strict=True):
        for run, colour in _coloured(of_panel):
            _point(by_arm[run.arm], colour, axes)
        costs, scores = [point.cost.seconds for point in front], [point.score.mean for point in front]
        axes.step(costs, scores, where="post", color="#999999", linewidth=1, zorder=0, label="Pareto front")
        for point, style in zip(untrained, ("--", ":", "-."), strict=False):
            axes.axhline(point.score.mean, color="#666666", linestyle=style, linewidth=1, label=point.arm)
        axes.set_ylabel(f"{plane.column}, {plane.suite}\n(95 % interval)")
        _legend(axes, method)
    grid[-1].set_xlim(0, 1.1 * max(point.cost.seconds for point in by_arm.values()))
    grid[-1].set_xlabel(COSTS["seconds"])
    return figure


def _point(point: Point, colour: Any, axes: Axes) -> None:
    score = point.score
    options = {"fmt": "o", "color": colour, "capsize": 3, "label": point.arm}
    axes.errorbar(point.cost.seconds, score.mean, yerr=[[score.mean - score.low], [score.high - score.mean]], **options)
