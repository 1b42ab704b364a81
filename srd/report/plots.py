"""The report's pictures: training curves with phase borders, difficulty by phase, cost against score."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srd.report.scores import Row, ancestry
from srd.rows import Phase, Reflection, read_dicts, read_rows

mpl.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "figure.dpi": 130}
)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
"""Okabe and Ito's palette, distinct for colour-blind readers."""
SMOOTHING = 20
"""Steps averaged in the loss curve."""


def draw(outputs: Path, entries: list[dict[str, Any]], rows: list[Row], folder: Path) -> dict[str, Path]:
    """Write every plot that the study has data for; returns their paths by title."""
    figures = {
        "Training loss and dev ROUGE-L": ("training.png", _training(outputs, entries)),
        "Difficulty by phase": ("difficulty.png", _difficulty(outputs, entries)),
        "Cost against score": ("cost.png", _cost(rows)),
    }
    paths = {}
    for title, (name, figure) in figures.items():
        if figure is not None:
            paths[title] = folder / name
            figure.savefig(paths[title])
    return paths


def _first_runs(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One run an arm: plain arms first."""
    return list({entry["arm"]: entry for entry in sorted(entries, key=lambda e: (e["curated"], e["arm"], -e["seed"]))}.values())


def _training(outputs: Path, entries: list[dict[str, Any]]) -> Figure | None:
    done = [entry for entry in _first_runs(entries) if (outputs / entry["distill"]).is_dir()]
    if not done:
        return None
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for entry, colour in zip(done, COLOURS * 9, strict=False):
        folder = outputs / entry["distill"]
        metrics, dev = read_dicts(folder / "metrics.jsonl"), read_dicts(folder / "dev.jsonl")
        losses = [row["train/loss_nats"] for row in metrics]
        smooth = [sum(losses[max(0, i - SMOOTHING + 1) : i + 1]) / min(i + 1, SMOOTHING) for i in range(len(losses))]
        top.plot([row["step"] for row in metrics], smooth, color=colour, label=entry["arm"], linewidth=1.2)
        bottom.plot(
            [row["step"] for row in dev], [100 * row["dev/rouge_l"] for row in dev], "o-", color=colour, markersize=3, linewidth=1.2
        )
        for before, after in pairwise(metrics):
            if after["phase"] != before["phase"]:
                for axes in (top, bottom):
                    axes.axvline(before["step"] + 0.5, color=colour, linestyle=":", linewidth=1)
    top.set_ylabel(f"training loss, nats/token\n(mean of {SMOOTHING} steps)")
    bottom.set_ylabel("dev ROUGE-L")
    bottom.set_xlabel("optimiser step (dotted: phase borders)")
    top.legend(frameon=False)
    return figure


def _difficulty(outputs: Path, entries: list[dict[str, Any]]) -> Figure | None:
    done = [entry for entry in _first_runs(entries) if entry["curated"] and (outputs / entry["distill"]).is_dir()]
    ancestors = [(entry, {manifest["stage"]: manifest for manifest in ancestry(outputs, entry["distill"])}) for entry in done]
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
            [row.nll for row in rows], [100 * row.rouge_l for row in rows], s=9, alpha=0.65, color=colour, label=label, linewidths=0
        )
    axes.set_xlabel("NLL of the reference, nats/token (harder →)")
    axes.set_ylabel("ROUGE-L of the student's answer (easier ↑)")
    axes.legend(frameon=False, markerscale=2, title=entry["arm"])
    return figure


def _cost(rows: list[Row]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes: Axes = figure.subplots()
    arms = [row for row in rows if row.target == "distill" and row.suite == rows[0].suite]
    for row, colour in zip(arms, COLOURS * 9, strict=False):
        below, above = row.rouge_l.mean - row.rouge_l.low, row.rouge_l.high - row.rouge_l.mean
        axes.errorbar(row.cost.seconds, row.rouge_l.mean, yerr=[[below], [above]], fmt="o", color=colour, capsize=3, label=row.arm)
    for row, style in zip([r for r in rows if r.target != "distill" and r.suite == rows[0].suite], ("--", ":", "-."), strict=False):
        axes.axhline(row.rouge_l.mean, color="#666666", linestyle=style, linewidth=1, label=row.arm)
    axes.set_xlim(0, 1.1 * max((row.cost.seconds for row in arms), default=1))
    axes.set_xlabel("seconds of the arm, scoring included")
    axes.set_ylabel(f"ROUGE-L, {rows[0].suite} (95 % interval)")
    axes.legend(frameon=False)
    return figure


def _folder(outputs: Path, manifest: dict[str, Any]) -> Path:
    return outputs / manifest["stage"] / manifest["fingerprint"]
