"""`srd show STAGE/FINGERPRINT`: look into an artefact."""

from collections.abc import Callable
from pathlib import Path

from srd.commands.terminal import one_word, outputs_of, print_table, shortened
from srd.errors import UserError, nearest
from srd.store.manifests import read_manifest
from srd.store.rows import Phase, Reflection, Sample, read_dicts, read_rows

SHOWN = 5
"""Samples listed at either end of a ranking."""


def show(words: list[str]) -> None:
    """`srd show STAGE/FINGERPRINT` (any unambiguous beginning, or a path)."""
    outputs, rest = outputs_of(words)
    folder = find(outputs, one_word(rest, "show", "artefact"))
    manifest = read_manifest(folder)
    ledger = {key: value for key, value in manifest["ledger"].items() if not isinstance(value, dict)}
    print(f"{manifest['stage']}/{manifest['fingerprint']}  {manifest['started']}  version {manifest['version']}")
    print("made from  " + (", ".join(f"{name} {child}" for name, child in manifest["inputs"].items()) or "nothing"))
    print("cost       " + ", ".join(f"{key} {value:,.6g}" for key, value in ledger.items()))
    for name, entry in manifest["files"].items():
        print(
            f"file       {name}  {entry['bytes']:,} bytes"
            + (f"  {entry['rows']:,} rows" if entry["rows"] is not None else "")
        )
    if manifest["stage"] in ROWS:
        ROWS[manifest["stage"]](outputs, folder)


def find(outputs: Path, name: str) -> Path:
    """The folder of an artefact named by path, by stage/fingerprint or by the beginning of its fingerprint."""
    if (Path(name) / "manifest.json").is_file():
        return Path(name)
    everything = [path.parent for path in outputs.glob("*/*/manifest.json")]
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
    from srd.store.manifests import ancestry

    nodes = [
        manifest
        for manifest in ancestry(outputs, f"{folder.parent.name}/{folder.name}")
        if manifest["stage"] == "samples"
    ]
    return {
        sample.id: sample
        for node in nodes
        for sample in read_rows(outputs / "samples" / node["fingerprint"] / "samples.jsonl", Sample)
    }


def _show_ranking(outputs: Path, folder: Path) -> None:
    ranking, samples = read_dicts(folder / "ranking.jsonl"), _samples(outputs, folder)
    manifest = read_manifest(folder)
    made_of = manifest["inputs"].get("reflections")
    reflections = (
        {row.id: row for row in read_rows(outputs / made_of / "reflections.jsonl", Reflection)} if made_of else {}
    )
    header = ["rank", "prompt", "reference", *(["the student's answer", "ROUGE-L", "NLL"] if made_of else [])]
    for title, rows in (("easiest", ranking[:SHOWN]), ("hardest", ranking[-SHOWN:])):
        lines = [[str(row["rank"]), *_reflected(samples[row["id"]], reflections.get(row["id"]))] for row in rows]
        print_table(header, lines, title)


def _show_reflections(outputs: Path, folder: Path) -> None:
    reflections, samples = read_rows(folder / "reflections.jsonl", Reflection), _samples(outputs, folder)
    lines = [[row.id, *_reflected(samples[row.id], row)] for row in reflections[:SHOWN]]
    print_table(["id", "prompt", "reference", "the student's answer", "ROUGE-L", "NLL"], lines)


def _reflected(sample: Sample, row: Reflection | None) -> list[str]:
    texts = [shortened(sample.instruction), shortened(sample.references[0])]
    return texts if row is None else [*texts, shortened(row.response), f"{100 * row.rouge_l:.1f}", f"{row.nll:.2f}"]


def _show_phases(outputs: Path, folder: Path) -> None:
    phases = read_rows(folder / "phases.jsonl", Phase)
    print_table(["phase", "samples"], [[str(phase.phase + 1), f"{len(phase.ids):,}"] for phase in phases])


def _show_samples(outputs: Path, folder: Path) -> None:
    samples = read_rows(folder / "samples.jsonl", Sample)[:SHOWN]
    print_table(
        ["id", "split", "prompt", "response"],
        [[s.id, s.split, shortened(s.instruction), shortened(s.references[0])] for s in samples],
    )


def _show_scores(outputs: Path, folder: Path) -> None:
    rows, samples = read_dicts(folder / "scores.jsonl"), _samples(outputs, folder)
    print(f"mean ROUGE-L {100 * sum(row['rouge_l'] for row in rows) / len(rows):.2f} over {len(rows)} answers")
    lines = [
        [
            shortened(samples[r["id"]].instruction),
            shortened(samples[r["id"]].references[0]),
            shortened(r["prediction"]),
            f"{100 * r['rouge_l']:.1f}",
        ]
        for r in rows[:SHOWN]
    ]
    print_table(["prompt", "reference", "answer", "ROUGE-L"], lines)


def _show_dev(outputs: Path, folder: Path) -> None:
    lines = [
        [str(r["phase"] + 1), str(r["epoch"] + 1), str(r["step"]), f"{100 * r['dev/rouge_l']:.2f}"]
        for r in read_dicts(folder / "dev.jsonl")
    ]
    print_table(["phase", "epoch", "step", "dev ROUGE-L"], lines)


ROWS: dict[str, Callable[[Path, Path], None]] = {
    "samples": _show_samples,
    "reflect": _show_reflections,
    "rank": _show_ranking,
    "partition": _show_phases,
    "distill": _show_dev,
    "evaluate": _show_scores,
}
