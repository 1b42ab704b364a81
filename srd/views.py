"""The commands that only look: `report`, `show` and `ls`. They read files and never start a stage."""

import re
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from srd.cli import outputs_of
from srd.config import Config
from srd.errors import UserError, nearest
from srd.store.manifests import read_manifest
from srd.store.rows import Phase, Reflection, Sample, read_dicts, read_rows

NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]\d+)?( [A-Za-z]+)?")
"""A cell that is set to the right: a number, with its unit."""
SHOWN = 5
"""Samples listed at either end of a ranking."""


def report(words: list[str]) -> None:
    """`srd report [STUDY]`."""
    from srd.report import write_report
    from srd.report.tables import comparisons, summary_table

    outputs, rest = outputs_of(words)
    rows, paths = write_report(outputs, _one(rest, "report", "study", default="default"))
    _print_table(*summary_table(rows))
    for line in comparisons(rows):
        print(line)
    for path in paths.values():
        print(path)


def show(words: list[str]) -> None:
    """`srd show STAGE/FINGERPRINT` (any unambiguous beginning, or a path)."""
    outputs, rest = outputs_of(words)
    folder = find(outputs, _one(rest, "show", "artefact"))
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


def ls(words: list[str]) -> None:
    """`srd ls [KIND]`: config options, or artefacts."""
    from srd.compose import conf_folder, groups

    outputs, rest = outputs_of(words)
    kinds = [*groups(), "artefacts"]
    if rest and rest[0] not in kinds:
        raise UserError(f"unknown kind '{rest[0]}'; {nearest(rest[0], kinds)}")
    for group in [kind for kind in kinds[:-1] if not rest or kind == rest[0]]:
        print(group)
        for path in sorted((conf_folder() / group).rglob("*.yaml")):
            name = str(path.relative_to(conf_folder() / group).with_suffix(""))
            print(f"  {name:<28} {_headline(path)}")
    if not rest or rest[0] == "artefacts":
        print(f"artefacts in {outputs}")
        for path in sorted(outputs.glob("*/*/manifest.json")):
            manifest = read_manifest(path.parent)
            print(
                f"  {path.parent.relative_to(outputs)!s:<28} {manifest['started']}  "
                f"{manifest['ledger']['seconds']:.1f} s"
            )


def plan(cfg: Config) -> None:
    """What `srd plan` prints of a config: the needs of every stage, its largest, and whether the run fits."""
    from srd.planning import check, reckon

    reckoning = reckon(cfg)
    needs, n = reckoning.to_do(), reckoning.lengths
    devices = f"{reckoning.gpus} x {reckoning.machine.name}" if reckoning.gpus > 1 else reckoning.machine.name
    print(
        f"{n.samples:,} samples of {n.prompt:.0f} + {n.response:.0f} tokens (the longest {n.longest}), "
        f"{sum(n.test_samples.values()):,} test rows; teacher {reckoning.teacher.parameters / 1e6:,.1f} M parameters, "
        f"student {reckoning.student.parameters / 1e6:,.1f} M; {devices} at {cfg.plan.utilisation:.0%} of its speed"
    )
    there = [need.stage for need in reckoning.needs() if need.stage in reckoning.there]
    if there:
        print(f"there already: {', '.join(there)}")
    if not needs:
        return
    most = max(needs, key=lambda need: need.memory_bytes)
    disk, flops, seconds = (sum(getattr(need, name) for need in needs) for name in ("disk_bytes", "flops", "seconds"))
    lines = [[x.stage, size(x.memory_bytes), size(x.disk_bytes), f"{x.flops:.2e}", clock(x.seconds)] for x in needs]
    lines.append(["all", size(most.memory_bytes), size(disk), f"{flops:.2e}", clock(seconds)])
    _print_table(["stage", "memory", "disk", "FLOPs", "time"], lines)
    parts = sorted(most.memory.items(), key=lambda part: -part[1])
    print(f"most memory, {most.stage}: " + ", ".join(f"{name} {size(held)}" for name, held in parts))
    check(reckoning)


def size(held: float) -> str:
    """Bytes in the unit that a person would choose."""
    return f"{held / 1e9:.1f} GB" if held >= 1e9 else f"{held / 1e6:.1f} MB"


def clock(seconds: float) -> str:
    """Hours, minutes or seconds, as a person says them."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


VIEWS: dict[str, Callable[[list[str]], None]] = {"report": report, "show": show, "ls": ls}


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
        _print_table(header, lines, title)


def _show_reflections(outputs: Path, folder: Path) -> None:
    reflections, samples = read_rows(folder / "reflections.jsonl", Reflection), _samples(outputs, folder)
    lines = [[row.id, *_reflected(samples[row.id], row)] for row in reflections[:SHOWN]]
    _print_table(["id", "prompt", "reference", "the student's answer", "ROUGE-L", "NLL"], lines)


def _reflected(sample: Sample, row: Reflection | None) -> list[str]:
    texts = [_short(sample.instruction), _short(sample.references[0])]
    return texts if row is None else [*texts, _short(row.response), f"{100 * row.rouge_l:.1f}", f"{row.nll:.2f}"]


def _show_phases(outputs: Path, folder: Path) -> None:
    phases = read_rows(folder / "phases.jsonl", Phase)
    _print_table(["phase", "samples"], [[str(phase.phase + 1), f"{len(phase.ids):,}"] for phase in phases])


def _show_samples(outputs: Path, folder: Path) -> None:
    samples = read_rows(folder / "samples.jsonl", Sample)[:SHOWN]
    _print_table(
        ["id", "split", "prompt", "response"],
        [[s.id, s.split, _short(s.instruction), _short(s.references[0])] for s in samples],
    )


def _show_scores(outputs: Path, folder: Path) -> None:
    rows, samples = read_dicts(folder / "scores.jsonl"), _samples(outputs, folder)
    print(f"mean ROUGE-L {100 * sum(row['rouge_l'] for row in rows) / len(rows):.2f} over {len(rows)} answers")
    lines = [
        [
            _short(samples[r["id"]].instruction),
            _short(samples[r["id"]].references[0]),
            _short(r["prediction"]),
            f"{100 * r['rouge_l']:.1f}",
        ]
        for r in rows[:SHOWN]
    ]
    _print_table(["prompt", "reference", "answer", "ROUGE-L"], lines)


def _show_dev(outputs: Path, folder: Path) -> None:
    lines = [
        [str(r["phase"] + 1), str(r["epoch"] + 1), str(r["step"]), f"{100 * r['dev/rouge_l']:.2f}"]
        for r in read_dicts(folder / "dev.jsonl")
    ]
    _print_table(["phase", "epoch", "step", "dev ROUGE-L"], lines)


ROWS: dict[str, Callable[[Path, Path], None]] = {
    "samples": _show_samples,
    "reflect": _show_reflections,
    "rank": _show_ranking,
    "partition": _show_phases,
    "distill": _show_dev,
    "evaluate": _show_scores,
}


def _short(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _headline(path: Path) -> str:
    """The first comment of a config file."""
    comments = [
        line[1:].strip()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("#") and "@package" not in line
    ]
    return comments[0] if comments else ""


def _one(words: list[str], command: str, what: str, default: str | None = None) -> str:
    if len(words) > 1 or (not words and default is None):
        raise UserError(
            f"srd {command}: expected one {what}, got {len(words)} words; usage: srd {command} {what.upper()} "
            "[outputs=FOLDER]"
        )
    return words[0] if words else str(default)


def _print_table(header: list[str], lines: list[list[str]], title: str | None = None) -> None:
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name, column in zip(header, zip(*lines, strict=True), strict=True):
        numeric = all(NUMBER.fullmatch(cell) for cell in column if cell)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    Console(highlight=False).print(table)
