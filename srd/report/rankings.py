"""How far a ranking can be trusted: how its signals agree, what it makes of planted noise, and whether another seed or
another machine's cut orders the samples alike."""

from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from srd.report.noise import areas, corrupted_of
from srd.report.study import Run, in_order
from srd.report.tables import Cells
from srd.selection.adaptive import chosen_words
from srd.selection.ranking import easiest
from srd.store.columns import Columns, read_columns
from srd.store.manifests import ancestry, artefacts_in, file_of, read_manifest

SEEDS = ("seed", "seeds", "corrupt_seed")
"""Settings that a repetition may differ in."""
SHARES = (0.25, 0.5, 0.75)
"""Values of λ at which two orders are compared."""


def agreement(folder: Path) -> str:
    """Spearman's correlation of every two signals of a ranking; a dash where one is the same for all samples."""
    signals = read_manifest(folder)["settings"]["signals"]
    ranks = read_columns(file_of(folder, "ranking.jsonl"), {f"{signal}_rank": float for signal in signals})
    return ", ".join(
        f"{one} and {other} {_correlation(ranks[f'{one}_rank'], ranks[f'{other}_rank'])}"
        for one, other in combinations(signals, 2)
    )


def beside(folder: Path, other: Path) -> str:
    """How alike two rankings are on the samples that both have: Spearman's correlation of their orders, and the share
    of the kept samples that they have in common at some λ."""
    first, second = (_order(each) for each in (folder, other))
    both, rows, places = np.intersect1d(first["id"], second["id"], return_indices=True)
    if len(both) < 2:
        return "no two samples in common"
    orders = [{"id": both, "rank": first["rank"][rows]}, {"id": both, "rank": second["rank"][places]}]
    common = []
    for share in SHARES:
        if len(both) * share >= 1:
            kept = [easiest(order, share)["id"] for order in orders]
            common.append(f"{100 * len(np.intersect1d(kept[0], kept[1])) / len(kept[0]):.1f} % at λ = {share:g}")
    kept_too = f"; kept in common {', '.join(common)}" if common else ""
    return f"Spearman {_correlation(orders[0]['rank'], orders[1]['rank'])} over {len(both):,} samples{kept_too}"


def repetitions(outputs: Path, folder: Path) -> list[Path]:
    """The other rankings of `outputs` that differ from this one in seeds alone, theirs or those of what they are made
    of."""
    own = _recipe(outputs, folder)
    rankings = [path for path in artefacts_in(outputs) if path.parent.name == "rank" and path.name != folder.name]
    return [path for path in rankings if _recipe(outputs, path) == own]


def quality(outputs: Path, folder: Path) -> dict[str, str]:
    """What can be said of a ranking, by title."""
    said = {"agreement of the signals (Spearman)": agreement(folder)}
    samples = [each for each in ancestry(outputs, f"rank/{folder.name}") if each["stage"] == "samples"]
    corrupted = corrupted_of(outputs / "samples" / samples[0]["fingerprint"]) if samples else None
    if corrupted:
        said["corrupted rows found (area under the ROC curve)"] = areas(folder, corrupted)
    for other in repetitions(outputs, folder):
        said[f"other seed, rank/{other.name}"] = beside(folder, other)
    return {title: words for title, words in said.items() if words}


def rankings_table(runs: list[Run]) -> Cells | None:
    """One line an arm: how the signals of its rankings agree, how stable their orders are under the other seeds of the
    study, and the λ that a rule has chosen; nothing where there is none of it."""
    arms: dict[str, list[Run]] = defaultdict(list)
    for run in in_order(runs):
        if run.folders("rank"):
            arms[run.arm].append(run)
    study = {folder.name for run in runs for folder in run.folders("rank")}
    lines = [
        [arm, *(_cell(part) for part in zip(*(_of_run(run, study) for run in of), strict=True))]
        for arm, of in arms.items()
    ]
    lines = [line for line in lines if any(cell != "–" for cell in line[1:])]
    return (
        (["", "agreement of the signals (Spearman)", "order under another seed", "λ chosen"], lines) if lines else None
    )


def _of_run(run: Run, study: set[str]) -> tuple[list[str], list[str], list[str]]:
    folders = run.folders("rank")
    again = [
        beside(folder, other)
        for folder in folders
        for other in repetitions(run.outputs, folder)
        if other.name in study and other.name > folder.name
    ]
    ledgers = [read_manifest(folder)["ledger"] for folder in run.folders("filter")]
    chosen = [chosen_words(ledger["chosen"]) for ledger in ledgers if "chosen" in ledger]
    return [words for folder in folders if (words := agreement(folder))], again, chosen


def _cell(of_runs: tuple[list[str], ...]) -> str:
    return "; ".join(dict.fromkeys(words for each in of_runs for words in each)) or "–"


def _order(folder: Path) -> Columns:
    return read_columns(file_of(folder, "ranking.jsonl"), {"id": str, "rank": int})


def _correlation(one: np.ndarray, other: np.ndarray) -> str:
    """Spearman's correlation in three digits; exactly 1 only where both order alike."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return "–"
    found: Any = spearmanr(one, other)
    value = float(found.statistic)
    return "1" if np.array_equal(one, other) else f"{min(value, 0.9999):.4f}" if value > 0.999 else f"{value:.3f}"


def _recipe(outputs: Path, folder: Path) -> list[tuple[str, int, Any]]:
    """What a ranking and all that it was made of are settings of, without seeds."""
    made = [
        (each["stage"], each["version"], _seedless(each["settings"]))
        for each in ancestry(outputs, f"rank/{folder.name}")
    ]
    return sorted(made, key=repr)


def _seedless(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _seedless(value) for key, value in sorted(settings.items()) if key not in SEEDS}
    return [_seedless(value) for value in settings] if isinstance(settings, list) else settings
