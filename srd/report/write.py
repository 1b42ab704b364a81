"""`srd report STUDY`: one table and its plots, as Markdown, JSON and HTML, computed from rows and ledgers."""

import base64
import json
from html import escape
from pathlib import Path
from string import Template

from srd.report.harness import numbers_of, program_notes, suite_table
from srd.report.noise import noise_table
from srd.report.planned import NOTE as PLAN_NOTE
from srd.report.planned import fidelity, planned_table
from srd.report.published import published, published_table
from srd.report.scores import Result, results_of
from srd.report.study import LOCK, Run, read_study, study_folder
from srd.report.tables import Cells, cost_table, difference_notes, difference_table, markdown, score_table
from srd.store.files import replace_text
from srd.store.locks import hold


def write_report(outputs: Path, study: str) -> tuple[list[Result], dict[str, Path]]:
    """Write `report.md`, `report.json`, `report.html` and the plots; returns the rows and the paths."""
    from srd.report.plots import draw

    runs = read_study(outputs, study)
    rows = results_of(runs)
    folder = study_folder(outputs, study)
    more = {
        "Standard suites": suite_table(runs),
        "Published figures": published_table(
            {run.arm: run.published for run in runs if run.published is not None}, {row.suite for row in rows}
        ),
        "Corrupted rows": noise_table(runs),
        "The plan": planned_table(runs),
    }
    tables = _tables(rows, more)
    notes = [
        *([ROUGE_NOTE] if any("rouge_l" in row.metrics for row in rows) else []),
        *NOTES,
        *difference_notes(rows),
        *program_notes(runs),
        *([LIKELIHOOD_NOTE] if any(row.likelihood for row in rows) else []),
        *([PLAN_NOTE] if "The plan" in tables else []),
        *fidelity(runs),
        *sources(runs),
    ]
    paths = {kind: folder / f"report.{kind}" for kind in ("md", "json", "html")}
    numbers = {"study": study, "rows": [row.as_dict() for row in rows], "standard_suites": numbers_of(runs)}
    with hold(folder / LOCK, f"report {study}"):
        plots = draw(runs, rows, folder)
        replace_text(paths["json"], json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
        replace_text(paths["md"], _markdown(study, rows, tables, notes, plots))
        replace_text(paths["html"], _html(study, rows, tables, notes, plots))
    return rows, paths


def _tables(rows: list[Result], more: dict[str, Cells | None]) -> dict[str, Cells]:
    """The report's tables by title; one without lines is left out."""
    found = {"Scores": score_table(rows), "Differences": difference_table(rows), "Cost": cost_table(rows), **more}
    return {title: cells for title, cells in found.items() if cells is not None and cells[1]}


def sources(runs: list[Run]) -> list[str]:
    """Where published figures come from."""
    names = {(run.published or "").partition("/")[0] for run in runs} - {""}
    return [f"Published: {published()[name]['source']}." for name in sorted(names)]


ROUGE_NOTE = "ROUGE-L is the F-measure of rouge-score with stemming, times 100."
NOTES = [
    "A 95 % interval is for other training seeds and other ids: Student's t, with the variance of the mean from the "
    "spread between training runs and between ids (two factors, crossed; the answers to an id under several sampling "
    "seeds are averaged). Differences are paired by training seed, id and sampling seed.",
    "Of fewer than three training runs (the first number of n) the interval is over ids only: it does not cover "
    "training seeds.",
    "Seconds count everything an arm needs beyond the fine-tuned teacher and the student's warm start: reflection, "
    "scoring, ranking, caching of the teacher and distillation with its dev evaluations. Teacher and student rows "
    "state their own fine-tuning. They run from the check of a stage's inputs to its manifest; Python's start, the "
    "composing of the config and the plan are outside of them.",
]

LIKELIHOOD_NOTE = (
    "Perplexity is exp of the mean NLL of a token over all supervised positions of the test rows; ECE is the expected "
    "calibration error of the likeliest token's probability, 15 bins of equal width (Guo et al. 2017); top-1 is how "
    "often that token is the text's own. Their intervals rest on the jackknife's pseudo-values of the rows."
)


def _markdown(
    study: str, rows: list[Result], tables: dict[str, Cells], notes: list[str], plots: dict[str, Path]
) -> str:
    parts = [f"# Study {study}"]
    for title, cells in tables.items():
        parts += [f"## {title}", markdown(*cells)]
    parts += [*notes, "## Plots", *(f"![{title}]({path.name})" for title, path in plots.items()), "## Artefacts"]
    parts += [
        "\n".join(f"* {row.arm}, {row.suite}: {', '.join(f'`{name}`' for name in row.fingerprints)}" for row in rows)
    ]
    return "\n\n".join(parts) + "\n"


def _html(study: str, rows: list[Result], tables: dict[str, Cells], notes: list[str], plots: dict[str, Path]) -> str:
    """The whole report in one file, pictures included; every text of a study is escaped."""
    parts = [f"<h1>Study {escape(study)}</h1>"]
    parts += [part for title, cells in tables.items() for part in (f"<h2>{escape(title)}</h2>", _html_table(*cells))]
    parts.append('<div class="notes">' + "".join(f"<p>{escape(note)}</p>" for note in notes) + "</div>")
    for title, path in plots.items():
        image = base64.b64encode(path.read_bytes()).decode()
        parts += [f"<h2>{escape(title)}</h2>", f'<img alt="{escape(title)}" src="data:image/png;base64,{image}">']
    parts += ["<h2>Artefacts</h2>", f"<ul>{''.join(map(_html_artefacts, rows))}</ul>"]
    template = Template((Path(__file__).parent / "template.html").read_text(encoding="utf-8"))
    return template.substitute(study=escape(study), body="\n".join(parts))


def _html_table(header: list[str], lines: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>\n</table></div>'


def _html_artefacts(row: Result) -> str:
    codes = " ".join(f"<code>{escape(name)}</code>" for name in row.fingerprints)
    return f"<li>{escape(row.arm)}, {escape(row.suite)}: {codes}</li>"
