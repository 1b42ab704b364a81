"""The report's pictures: training curves with phase borders, difficulty by phase, cost against score."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srd.report.scores import Result
from srd.store.manifests import ancestry
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


def draw(outputs: Path, entries: list[dict[str, Any]], rows: list[Result], folder: Path) -> dict[str, Path]:
    """Write every plot that the study has data for; returns their paths by title."""
    figures = {
        "Training loss and dev ROUGE-L": ("training.png", _training(outputs, entries)),
        "Difficulty by phase": ("difficulty.png", _difficulty(outputs, entries)),
        "Cost against score": ("cost.png", _cost(rows, entries)),
    }
    paths = {}
    for title, (name, figure) in figures.items():
        if figure is not None:
            paths[title] = folder / name
            figure.savefig(paths[title])
    return paths


def _first_runs(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One run an arm: plain arms first."""
    return list(
        {entry["arm"]: entry for entry in sorted(entries, key=lambda e: (e["curated"], e["arm"], -e["seed"]))}.values()
    )


def _panels(runs: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Runs that share a panel: all of them where the colours suffice, else those of each method."""
    if len(runs) <= len(COLOURS):
        return [("", runs)]
    return [
        (method, [run for run in runs if run["method"] == method])
        for method in dict.fromkeys(run["method"] for run in runs)
    ]


def _coloured(runs: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Any]]:
    """Runs of a panel with a colour each."""
    many = mpl.colormaps["tab20"].colors  # pyright: ignore[reportAttributeAccessIssue]
    return list(zip(runs, (COLOURS if len(runs) <= len(COLOURS) else many) * 9, strict=False))


def _legend(axes: Axes, title: str) -> None:
    """AuxiliaryLoss the axes, where it hides nothing however long it is."""
    axes.legend(
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        title=title or None,
        alignment="left",
    )


def _training(outputs: Path, entries: list[dict[str, Any]]) -> Figure | None:
    done = [entry for entry in _first_runs(entries) if (outputs / entry["distill"]).is_dir()]
    if not done:
        return None
    panels = _panels(done)
    figure = Figure(figsize=(12, 3.4 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 2, sharex=True, squeeze=False)
    for (method, runs), (loss, dev) in zip(panels, grid, strict=True):
        for entry, colour in _coloured(runs):
            _curves(outputs / entry["distill"], entry["arm"], colour, loss, dev)
        loss.set_ylabel(f"training loss, nats/token\n(mean of {SMOOTHING} steps)")
        dev.set_ylabel("dev ROUGE-L")
        _legend(dev, method)
    for axes in grid[-1]:
        axes.set_xlabel("optimiser step (dotted: phase borders)")
    return figure


def _curves(folder: Path, arm: str, colour: Any, loss: Axes, dev: Axes) -> None:
    metrics, scores = read_dicts(folder / "metrics.jsonl"), read_dicts(folder / "dev.jsonl")
    losses = [row["train/loss_nats"] for row in metrics]
    smooth = [sum(losses[max(0, i - SMOOTHING + 1) : i + 1]) / min(i + 1, SMOOTHING) for i in range(len(losses))]
    loss.plot([row["step"] for row in metrics], smooth, color=colour, linewidth=1.2)
    steps, values = [row["step"] for row in scores], [100 * row["dev/rouge_l"] for row in scores]
    dev.plot(steps, values, "o-", color=colour, markersize=3, linewidth=1.2, label=arm)
    for before, after in pairwise(metrics):
        if after["phase"] != before["phase"]:
            for axes in (loss, dev):
                axes.axvline(before["step"] + 0.5, color=colour, linestyle=":", linewidth=1)


def _difficulty(outputs: Path, entries: list[dict[str, Any]]) -> Figure | None:
    done = [entry for entry in _first_runs(entries) if entry["curated"] and (outputs / entry["distill"]).is_dir()]
    ancestors = [
        (entry, {manifest["stage"]: manifest for manifest in ancestry(outputs, entry["distill"])}) for entry in done
    ]
    reflected = [(entry, manifests) for entry, manifests in ancestors if "reflect" in manifests]
    if not reflected:
        return None
    entry, manifests = reflected[0]
    reflections = read_rows(_folder(outputs, manifests["reflect"]) / "reflections.jsonl", Reflection)
    phases = read_rows(_folder(outputs, manifests["partition"]) / "phases.jsonl", Phase)
    first = {id: phase.phase for phase in reversed(phases) for id in phase.ids}
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes: Axes = figure.subplots()
    for number in [*(phase.phase for phase in phases), None]:
        rows = [row for row in reflections if first.get(row.id) == number]
        label = f"dropped ({len(rows)})" if number is None else f"enters in phase {number + 1} ({len(rows)})"
        colour = "#999999" if number is None else mpl.colormaps["viridis"](number / max(1, len(phases) - 0.5))
        axes.scatter(
            [row.nll for row in rows],
            [100 * row.rouge_l for row in rows],
            s=9,
            alpha=0.65,
            color=colour,
            label=label,
            linewidths=0,
        )
    axes.set_xlabel("NLL of the reference, nats/token (harder →)")
    axes.set_ylabel("ROUGE-L of the student's answer (easier ↑)")
    axes.legend(frameon=False, markerscale=2, title=entry["arm"])
    return figure


def _cost(rows: list[Result], entries: list[dict[str, Any]]) -> Figure:
    of_arm = {row.arm: row for row in rows if row.target == "distill" and row.suite == rows[0].suite}
    panels = _panels([run for run in _first_runs(entries) if run["arm"] in of_arm]) or [("", [])]
    figure = Figure(figsize=(10, 3.4 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for (method, runs), axes in zip(panels, grid, strict=True):
        for run, colour in _coloured(runs):
            row = of_arm[run["arm"]]
            below, above = row.rouge_l.mean - row.rouge_l.low, row.rouge_l.high - row.rouge_l.mean
            axes.errorbar(
                row.cost.seconds,
                row.rouge_l.mean,
                yerr=[[below], [above]],
                fmt="o",
                color=colour,
                capsize=3,
                label=row.arm,
            )
        for row, style in zip(
            [r for r in rows if r.target != "distill" and r.suite == rows[0].suite], ("--", ":", "-."), strict=False
        ):
            axes.axhline(row.rouge_l.mean, color="#666666", linestyle=style, linewidth=1, label=row.arm)
        axes.set_ylabel(f"ROUGE-L, {rows[0].suite}\n(95 % interval)")
        _legend(axes, method)
    grid[-1].set_xlim(0, 1.1 * max((row.cost.seconds for row in of_arm.values()), default=1))
    grid[-1].set_xlabel("seconds of the arm, scoring included")
    return figure


def _folder(outputs: Path, manifest: dict[str, Any]) -> Path:
    return outputs / manifest["stage"] / manifest["fingerprint"]
