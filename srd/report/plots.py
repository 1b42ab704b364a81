"""The report's pictures: training curves with phase borders, difficulty by phase, cost against score."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srd.metrics import CRITERIA, METRICS, dev_column
from srd.report.scores import COMPARED, Result
from srd.report.study import Run, headline
from srd.store.manifests import file_of
from srd.store.rows import Phase, Reflection, read_dicts, read_rows

mpl.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "figure.dpi": 130,
    }
)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
"""Okabe and Ito's palette, distinct for colour-blind readers."""
SMOOTHING = 20
"""Steps averaged in the loss curve."""


def draw(runs: list[Run], rows: list[Result], folder: Path) -> dict[str, Path]:
    """Write every plot that the study has data for; returns their paths by title."""
    name, metric = headline(runs)
    figures = {
        f"Training loss and dev {metric.column}": ("training.png", _training(runs, name)),
        "Difficulty by phase": ("difficulty.png", _difficulty(runs)),
        "Cost against score": ("cost.png", _cost(rows, runs)),
    }
    paths = {}
    for title, (name, figure) in figures.items():
        if figure is not None:
            paths[title] = folder / name
            figure.savefig(paths[title])
    return paths


def _first_runs(runs: list[Run]) -> list[Run]:
    """One run an arm, of its smallest training seed: plain arms first."""
    return list({run.arm: run for run in sorted(runs, key=lambda run: (run.curated, run.arm, -run.seed))}.values())


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
    done = [run for run in _first_runs(runs) if run.is_distilled]
    if not done:
        return None
    panels = _panels(done)
    heights = _heights(panels)
    figure = Figure(figsize=(12, sum(heights)), layout="constrained")
    grid = figure.subplots(len(panels), 2, sharex=True, squeeze=False, height_ratios=heights)
    for (method, of_panel), (loss, dev) in zip(panels, grid, strict=True):
        for run, colour in _coloured(of_panel):
            _curves(run, metric, colour, loss, dev)
        loss.set_ylabel(f"training loss, nats/token\n(mean of {SMOOTHING} steps)")
        dev.set_ylabel(f"dev {CRITERIA[metric].column}")
        _legend(dev, method)
    for axes in grid[-1]:
        axes.set_xlabel("optimiser step (dotted: phase borders)")
    return figure


def _curves(run: Run, metric: str, colour: Any, loss: Axes, dev: Axes) -> None:
    metrics, scores = (read_dicts(file_of(run.folder, f"{kind}.jsonl")) for kind in ("metrics", "dev"))
    losses = [row["train/loss_nats"] for row in metrics]
    smooth = [sum(losses[max(0, i - SMOOTHING + 1) : i + 1]) / min(i + 1, SMOOTHING) for i in range(len(losses))]
    loss.plot([row["step"] for row in metrics], smooth, color=colour, linewidth=1.2)
    # A run that chose its weights by another metric has no curve of this one, but keeps its place in the legend.
    scored = [row for row in scores if dev_column(metric) in row]
    values = [CRITERIA[metric].scale * row[dev_column(metric)] for row in scored]
    dev.plot([row["step"] for row in scored], values, "o-", color=colour, markersize=3, linewidth=1.2, label=run.arm)
    for before, after in pairwise(metrics):
        if after["phase"] != before["phase"]:
            for axes in (loss, dev):
                axes.axvline(before["step"] + 0.5, color=colour, linestyle=":", linewidth=1)


def _difficulty(runs: list[Run]) -> Figure | None:
    """Both signals of the first curated arm that reflected, coloured by the phase that a sample enters in."""
    reflected = [run for run in _first_runs(runs) if run.curated and run.folders("reflect")]
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


def _cost(rows: list[Result], runs: list[Run]) -> Figure:
    suite, column = rows[0].suite, COMPARED[rows[0].metric].column
    by_arm = {row.arm: row for row in rows if row.target == "distill" and row.suite == suite}
    panels = _panels([run for run in _first_runs(runs) if run.arm in by_arm]) or [("", [])]
    heights = _heights(panels)
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False, height_ratios=heights)[:, 0]
    untrained = [row for row in rows if row.target != "distill" and row.suite == suite]
    for (method, of_panel), axes in zip(panels, grid, strict=True):
        for run, colour in _coloured(of_panel):
            _point(by_arm[run.arm], colour, axes)
        for row, style in zip(untrained, ("--", ":", "-."), strict=False):
            axes.axhline(row.score.mean, color="#666666", linestyle=style, linewidth=1, label=row.arm)
        axes.set_ylabel(f"{column}, {suite}\n(95 % interval)")
        _legend(axes, method)
    grid[-1].set_xlim(0, 1.1 * max((row.cost.seconds for row in by_arm.values()), default=1))
    grid[-1].set_xlabel("seconds of the arm, scoring included")
    return figure


def _point(row: Result, colour: Any, axes: Axes) -> None:
    spread = [[row.score.mean - row.score.low], [row.score.high - row.score.mean]]
    options = {"fmt": "o", "color": colour, "capsize": 3, "label": row.arm}
    axes.errorbar(row.cost.seconds, row.score.mean, yerr=spread, **options)
