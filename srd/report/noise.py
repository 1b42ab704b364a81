"""How well a ranking finds the corrupted rows of a study that knows them (`dataset.corrupt`)."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from srd.report.study import Run, in_order
from srd.report.tables import Cells
from srd.store.columns import read_columns
from srd.store.manifests import file_of, read_manifest
from srd.store.rows import Corrupted, Phase, read_rows


def noise_table(runs: list[Run]) -> Cells | None:
    """Area under the ROC curve of every signal and of the fusion for corrupted rows, and how many of these an arm
    trains on.

    One line an arm, with every ranking that orders or chooses; nothing where no training row was corrupted. ½ is
    what a random order has, 1 puts all corrupted rows last.
    """
    arms: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for run in in_order(runs):
        corrupted = corrupted_of(run.folders("samples")[0]) if run.is_distilled else set()
        if corrupted:
            phases = read_rows(file_of(run.folders("partition")[0], "phases.jsonl"), Phase)
            used = {id for phase in phases for id in phase.ids}
            found = "; ".join(sorted(areas(folder, corrupted) for folder in run.folders("rank"))) or "no ranking"
            arms[run.arm].append((found, len(used & corrupted), len(used)))
    lines = [
        [arm, " or ".join(dict.fromkeys(found for found, _, _ in runs)), _counts(runs)] for arm, runs in arms.items()
    ]
    return (["", "area under the ROC curve", "corrupted rows trained on, by run"], lines) if lines else None


def _counts(runs: list[tuple[str, int, int]]) -> str:
    different = list(dict.fromkeys((hits, used) for _, hits, used in runs))
    return ", ".join(f"{hits:,} of {used:,}" for hits, used in different)


def corrupted_of(samples: Path) -> set[str]:
    """Ids of the rows that were spoilt when these samples were made."""
    if not (samples / "corrupted.jsonl").is_file():
        return set()
    return {row.id for row in read_rows(file_of(samples, "corrupted.jsonl"), Corrupted)}


def areas(folder: Path, corrupted: set[str]) -> str:
    """Area under the ROC curve of every signal of a ranking, and of the fusion, for corrupted rows."""
    signals = read_manifest(folder)["settings"]["signals"]
    kinds = {"id": str, **{f"{signal}_rank": float for signal in signals}, "rank": float}
    ranking = read_columns(file_of(folder, "ranking.jsonl"), kinds)
    found = {signal: roc_auc(ranking["id"], ranking[f"{signal}_rank"], corrupted) for signal in signals}
    if len(found) > 1:
        found["fused"] = roc_auc(ranking["id"], ranking["rank"], corrupted)
    return ", ".join(f"{signal} {area:.3f}" for signal, area in found.items())


def roc_auc(ids: np.ndarray, ranks: np.ndarray, positives: set[str]) -> float:
    """Probability that a positive is ranked above (harder than) a negative, ties half: the area under the ROC curve.

    By the rank sum of the positives (Mann and Whitney 1947).
    """
    hit = np.isin(ids, list(positives))
    hits, others = int(hit.sum()), int((~hit).sum())
    assert hits * others > 0, "an area under the curve needs both kinds"
    return float((ranks[hit].sum() - hits * (hits + 1) / 2) / (hits * others))
