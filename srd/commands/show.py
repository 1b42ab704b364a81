"""`srd show STAGE/FINGERPRINT`: look into an artefact."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from srd.commands.terminal import one_word, outputs_of, print_table, shortened
from srd.errors import UserError, nearest
from srd.metrics import CRITERIA, METRICS, dev_column, graded_title
from srd.report.harness import cells_of
from srd.report.rankings import beside, quality
from srd.selection.adaptive import chosen_words
from srd.selection.ranking import REFLECTIONS
from srd.store.manifests import MANIFEST, ancestry, artefacts_in, file_of, read_manifest, read_record
from srd.store.rows import Grade, Likelihood, Phase, Reflection, Sample, Score, TaskScore, read_dicts, read_rows

SHOWN = 5
"""Samples listed at either end of a ranking."""


def show(words: list[str]) -> None:
    """`srd show STAGE/FINGERPRINT` (any unambiguous beginning, or a path); `srd show rank/A rank/B` compares two
    rankings."""
    outputs, rest = outputs_of(words)
    if len(rest) == 2:
        _compare(*(find(outputs, name) for name in rest))
        return
    folder = find(outputs, one_word(rest, "show", "artefact"))
    manifest = read_manifest(folder)
    ledger = {key: value for key, value in manifest["ledger"].items() if not isinstance(value, dict)}
    print(f"{manifest['stage']}/{manifest['fingerprint']}  {manifest['started']}  version {manifest['version']}")
    print("made from  " + (", ".join(f"{name} {child}" for name, child in manifest["inputs"].items()) or "nothing"))
    print("cost       " + ", ".join(f"{key} {value:,.6g}" for key, value in ledger.items()))
    parts = manifest["ledger"].get("seconds_by_part", {})
    print("seconds    " + ", ".join(f"{part} {value:.3g}" for part, value in parts.items()))
    for name, entry in manifest["files"].items():
        print(
            f"file       {name}  {entry['bytes']:,} bytes"
            + (f"  {entry['rows']:,} rows" if entry["rows"] is not None else "")
        )
    if manifest["stage"] in ROWS:
        ROWS[manifest["stage"]](Path(os.path.abspath(folder)).parent.parent, folder)


def _compare(folder: Path, other: Path) -> None:
    """How alike two rankings are; a `UserError` for what is none."""
    for each in (folder, other):
        if (stage := read_manifest(each)["stage"]) != "rank":
            raise UserError(f"{stage}/{each.name}: expected a ranking to compare; usage: srd show rank/A rank/B")
    print(f"rank/{folder.name} beside rank/{other.name}: {beside(folder, other)}")


def find(outputs: Path, name: str) -> Path:
    """The folder of an artefact named by path, by stage/fingerprint or by the beginning of its fingerprint."""
    path = Path(os.path.expanduser(name))
    if (path / MANIFEST).is_file():
        return path
    everything = artefacts_in(outputs)
    matches = [
        path for path in everything if str(path.relative_to(outputs)).startswith(name) or path.name.startswith(name)
    ]
    if len(matches) != 1:
        known = [str(path.relative_to(outputs)) for path in (matches or everything)]
        what = "no artefact" if not matches else f"{len(matches)} artefacts"
        raise UserError(f"{what} '{name}' in {outputs}; {nearest(name, known)}")
    return matches[0]


def _samples(outputs: Path, folder: Path) -> dict[str, Sample]:
    """The samples that an artefact goes back to, by id."""
    nodes = [
        manifest
        for manifest in ancestry(outputs, f"{folder.parent.name}/{folder.name}")
        if manifest["stage"] in ("samples", "windows")
    ]
    return {
        sample.id: sample
        for node in nodes
        for sample in read_rows(file_of(outputs / node["stage"] / node["fingerprint"], "samples.jsonl"), Sample)
    }


def _show_ranking(outputs: Path, folder: Path) -> None:
    ranking, samples = read_dicts(file_of(folder, "ranking.jsonl")), _samples(outputs, folder)
    manifest = read_manifest(folder)
    made_of = _reflection_of(outputs, manifest["inputs"])
    reflections = (
        {row.id: row for row in read_rows(file_of(outputs / made_of, "reflections.jsonl"), Reflection)}
        if made_of
        else {}
    )
    signals = _signals(outputs, [child for child in manifest["inputs"].values() if child.startswith("score/")])
    signals = _joined(signals, _grades(outputs, list(manifest["inputs"].values())))
    header = ["rank", "prompt", "reference", *(_reflection_header(reflections.values()) if made_of else [])]
    header += next(iter(signals.values()), {})
    for title, rows in (("easiest", ranking[:SHOWN]), ("hardest", ranking[-SHOWN:])):
        lines = [
            [
                str(row["rank"]),
                *_reflected(samples[row["id"]], reflections.get(row["id"])),
                *_scored(row["id"], signals),
            ]
            for row in rows
        ]
        print_table(header, lines, title)
    for title, words in quality(outputs, folder).items():
        print(f"{title}: {words}")


Signals = dict[str, dict[str, float]]
"""Values of a sample's reference by name, by its id."""


def _signals(outputs: Path, names: list[str]) -> Signals:
    found: Signals = {}
    for name in names:
        for row in read_dicts(file_of(outputs / name, "signals.jsonl")):
            found.setdefault(row.pop("id"), {}).update(row)
    return found


def _grades(outputs: Path, names: list[str]) -> Signals:
    """What metrics say of the answers of a reflection, of those artefacts that are of this."""
    found: Signals = {}
    for name in dict.fromkeys(name for name in names if name.startswith("grade/")):
        metric = read_manifest(outputs / name)["settings"]["metric"]
        for row in read_rows(file_of(outputs / name, "grades.jsonl"), Grade):
            found.setdefault(row.id, {})[graded_title(metric)] = METRICS[metric].scale * row.mean
    return found


def _reflection_of(outputs: Path, inputs: dict[str, str]) -> str | None:
    """The reflection that an order goes back to, itself or by way of what metrics say of it."""
    grades = [read_manifest(outputs / name)["inputs"] for name in inputs.values() if name.startswith("grade/")]
    return next((each[REFLECTIONS] for each in (inputs, *grades) if REFLECTIONS in each), None)


def _joined(one: Signals, other: Signals) -> Signals:
    return {id: one.get(id, {}) | other.get(id, {}) for id in dict.fromkeys([*one, *other])}


def _scored(id: str, signals: Signals) -> list[str]:
    return [f"{value:.3f}" for value in signals.get(id, {}).values()]


def _show_signals(outputs: Path, folder: Path) -> None:
    signals, samples = _signals(outputs, [f"score/{folder.name}"]), _samples(outputs, folder)
    shown = list(signals)[:SHOWN]
    header = ["id", "prompt", "reference", *next(iter(signals.values()))]
    print_table(header, [[id, *_reflected(samples[id], None), *_scored(id, signals)] for id in shown])


def _show_reflections(outputs: Path, folder: Path) -> None:
    reflections, samples = read_rows(file_of(folder, "reflections.jsonl"), Reflection), _samples(outputs, folder)
    # What has been made of the answers so far: a reflection does not know who reads it.
    made = [path for path in artefacts_in(outputs) if path.parent.name == "grade"]
    of_this = [path for path in made if read_record(path)["inputs"][REFLECTIONS] == f"reflect/{folder.name}"]
    grades = _grades(outputs, [f"grade/{path.name}" for path in of_this])
    answers = len(reflections[0].answers)
    if answers > 1:
        print(f"{answers} answers to every prompt, of which the first is shown; metrics are means over them")
    lines = [[row.id, *_reflected(samples[row.id], row), *_scored(row.id, grades)] for row in reflections[:SHOWN]]
    titles = next(iter(grades.values()), {})
    print_table(["id", "prompt", "reference", *_reflection_header(reflections), *titles], lines)


def _show_grades(outputs: Path, folder: Path) -> None:
    grades, samples = _grades(outputs, [f"grade/{folder.name}"]), _samples(outputs, folder)
    lines = [[id, *_reflected(samples[id], None), *_scored(id, grades)] for id in list(grades)[:SHOWN]]
    print_table(["id", "prompt", "reference", *next(iter(grades.values()))], lines)
    values = [value for each in grades.values() for value in each.values()]
    print(f"mean {sum(values) / len(values):.2f} over {len(values):,} prompts")


def _reflection_header(reflections: Iterable[Reflection]) -> list[str]:
    names = next(iter(reflections)).metrics
    return ["the student's answer", *(METRICS[name].column for name in names), "NLL"]


def _reflected(sample: Sample, row: Reflection | None) -> list[str]:
    texts = [shortened(sample.instruction), shortened(sample.references[0])]
    if row is None:
        return texts
    metrics = [f"{METRICS[name].scale * value:.1f}" for name, value in row.metrics.items()]
    return [*texts, shortened(row.response), *metrics, f"{row.nll:.2f}"]


def _show_selection(outputs: Path, folder: Path) -> None:
    manifest = read_manifest(folder)
    chosen, keep = manifest["ledger"].get("chosen"), manifest["settings"]["keep"]
    print(chosen_words(chosen) if chosen else f"λ = {keep:g} as the config says")


def _show_phases(outputs: Path, folder: Path) -> None:
    phases = read_rows(file_of(folder, "phases.jsonl"), Phase)
    print_table(["phase", "samples"], [[str(phase.phase + 1), f"{len(phase.ids):,}"] for phase in phases])


def _show_samples(outputs: Path, folder: Path) -> None:
    samples = read_rows(file_of(folder, "samples.jsonl"), Sample)[:SHOWN]
    print_table(
        ["id", "split", "prompt", "response"],
        [[s.id, s.split, shortened(s.instruction), shortened(s.references[0])] for s in samples],
    )


def _show_scores(outputs: Path, folder: Path) -> None:
    rows, samples = read_rows(file_of(folder, "scores.jsonl"), Score), _samples(outputs, folder)
    names = list(rows[0].metrics)
    for name in names:
        mean = METRICS[name].scale * sum(row.metrics[name] for row in rows) / len(rows)
        of = "sentence " if METRICS[name].corpus is not None else ""
        print(f"mean {of}{METRICS[name].column} {METRICS[name].shown(mean)} over {len(rows)} answers")
    lines = []
    for row in rows[:SHOWN]:
        sample = samples[row.id]
        texts = [shortened(text) for text in (sample.instruction, sample.references[0], row.prediction)]
        lines.append([*texts, *(f"{METRICS[name].scale * row.metrics[name]:.1f}" for name in names)])
    print_table(["prompt", "reference", "answer", *(METRICS[name].column for name in names)], lines)


def _show_likelihood(outputs: Path, folder: Path) -> None:
    found, rows = (
        read_manifest(folder)["ledger"]["likelihood"],
        read_rows(file_of(folder, "likelihood.jsonl"), Likelihood),
    )
    shares = ", ".join(f"{name} {100 * found[key]:.2f} %" for name, key in (("ECE", "ece"), ("top-1", "accuracy")))
    print(f"perplexity {found['perplexity']:.2f}, {shares} over {found['positions']:,} positions of {len(rows)} rows")
    lines = [[row.id, f"{row.nll / row.positions:.2f}", f"{row.positions:,}"] for row in rows[:SHOWN]]
    print_table(["id", "NLL", "positions"], lines)


def _show_harness(outputs: Path, folder: Path) -> None:
    rows, program = read_rows(file_of(folder, "harness.jsonl"), TaskScore), read_manifest(folder)["ledger"]["program"]
    print(", ".join(f"{name} {version}" for name, version in program.items()))
    print_table(["task", "metric", "value", "± standard error", "n"], [list(cells_of(row)) for row in rows])


def _show_dev(outputs: Path, folder: Path) -> None:
    rows = read_dicts(file_of(folder, "dev.jsonl"))
    name = next(name for name in CRITERIA if dev_column(name) in rows[0])
    metric = CRITERIA[name]
    lines = [
        [str(r["phase"] + 1), str(r["epoch"] + 1), str(r["step"]), metric.shown(metric.scale * r[dev_column(name)])]
        for r in rows
    ]
    print_table(["phase", "epoch", "step", f"dev {metric.column}"], lines)


ROWS: dict[str, Callable[[Path, Path], None]] = {
    "samples": _show_samples,
    "windows": _show_samples,
    "reflect": _show_reflections,
    "score": _show_signals,
    "grade": _show_grades,
    "rank": _show_ranking,
    "filter": _show_selection,
    "partition": _show_phases,
    "distill": _show_dev,
    "evaluate": _show_scores,
    "likelihood": _show_likelihood,
    "harness": _show_harness,
}
