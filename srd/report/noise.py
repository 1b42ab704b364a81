"""How well a ranking finds the corrupted rows of a study that knows them (`dataset.corrupt`)."""

from pathlib import Path
from typing import Any

from srd.ranking import roc_auc
from srd.report.scores import ancestry
from srd.report.tables import Cells
from srd.rows import Corrupted, Phase, read_dicts, read_rows


def noise_table(outputs: Path, entries: list[dict[str, Any]]) -> Cells | None:
    """Area under the ROC curve of every signal and of the fusion for corrupted rows, and how many of these an arm trains on.

    One line an arm and ranking; nothing where no training row was corrupted. ½ is chance, 1 puts all corrupted rows last.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for entry in sorted(entries, key=lambda entry: (entry["curated"], entry["arm"], entry["seed"])):
        folders = {m["stage"]: outputs / m["stage"] / m["fingerprint"] for m in ancestry(outputs, entry["distill"])}
        file = folders["samples"] / "corrupted.jsonl"
        if file.is_file():
            corrupted = {row.id for row in read_rows(file, Corrupted)}
            used = {id for phase in read_rows(folders["partition"] / "phases.jsonl", Phase) for id in phase.ids}
            share = f"{len(used & corrupted):,} of {len(used):,}"
            areas = _areas(folders["rank"], corrupted) if "rank" in folders else "no ranking"
            lines.setdefault((entry["arm"], areas), [entry["arm"], areas, share])
    return (["", "area under the ROC curve", "corrupted rows trained on"], list(lines.values())) if lines else None


def _areas(folder: Path, corrupted: set[str]) -> str:
    ranking = read_dicts(folder / "ranking.jsonl")
    signals = [key for key in ranking[0] if key.endswith("_rank")]
    areas = {signal.removesuffix("_rank"): roc_auc({row["id"]: row[signal] for row in ranking}, corrupted) for signal in signals}
    if len(areas) > 1:
        areas["fused"] = roc_auc({row["id"]: row["rank"] for row in ranking}, corrupted)
    return ", ".join(f"{signal} {area:.3f}" for signal, area in areas.items())
