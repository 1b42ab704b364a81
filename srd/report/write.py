"""`srd report STUDY`: verdict, tables and plots as a page, Markdown, LaTeX and JSON, computed from rows and ledgers."""

import json
from pathlib import Path

from srd.metrics import METRICS
from srd.report.explorer import held_out_samples, training_samples
from srd.report.figures import curves, planes
from srd.report.harness import numbers_of, program_notes, suite_table
from srd.report.latex import latex
from srd.report.noise import noise_table
from srd.report.page import Contents, page
from srd.report.planned import NOTE as PLAN_NOTE
from srd.report.planned import fidelity, planned_table
from srd.report.published import published, published_table
from srd.report.rankings import rankings_table
from srd.report.scores import Result, results_of
from srd.report.study import LOCK, Run, headline, read_study, study_folder
from srd.report.tables import Cells, cost_table, difference_notes, difference_table, markdown, score_table
from srd.report.verdict import comparisons_of, verdict
from srd.store.files import replace_text
from srd.store.locks import hold


def write_report(outputs: Path, study: str) -> tuple[list[Result], dict[str, Path]]:
    """Write `report.html`, `report.md`, `report.tex`, `report.json` and the plots; returns the rows and the paths."""
    from srd.report.plots import draw

    runs = read_study(outputs, study)
    rows = results_of(runs)
    folder = study_folder(outputs, study)
    more = {
        "Standard suites": suite_table(runs),
        "Published figures": published_table(
            {run.arm: run.published for run in runs if run.published is not None}, {row.suite for row in rows}
        ),
        "Rankings": rankings_table(runs),
        "Corrupted rows": noise_table(runs),
        "The plan": planned_table(runs),
    }
    tables = _tables(rows, more)
    metric, _ = headline(runs)
    contents = Contents(
        study=study,
        verdict=verdict(rows),
        comparisons=comparisons_of(rows),
        planes=planes(rows),
        curves=curves(runs, metric),
        metric=metric,
        training=training_samples(runs),
        held_out=held_out_samples(rows, outputs),
        tables=tables,
        notes=_notes(runs, rows, tables),
        artefacts={f"{row.arm}, {row.suite}": row.fingerprints for row in rows},
    )
    paths = {kind: folder / f"report.{kind}" for kind in ("html", "md", "tex", "json")}
    numbers = {
        "study": study,
        "verdict": contents.verdict,
        "rows": [row.as_dict() for row in rows],
        "standard_suites": numbers_of(runs),
    }
    with hold(folder / LOCK, f"report {study}"):
        plots = draw(runs, rows, metric, folder)
        replace_text(paths["json"], json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
        replace_text(paths["tex"], latex(*tables["Scores"], caption=f"Study {study}."))
        replace_text(paths["md"], _markdown(contents, plots))
        replace_text(paths["html"], page(contents))
    return rows, paths


def _notes(runs: list[Run], rows: list[Result], tables: dict[str, Cells]) -> list[str]:
    """What a reader must know of the tables that there are."""
    return [
        *([ROUGE_NOTE] if any("rouge_l" in row.metrics for row in rows) else []),
        *corpus_notes(rows),
        *([PASS_NOTE] if any(row.pass_at for row in rows) else []),
        *NOTES,
        *difference_notes(rows),
        *program_notes(runs),
        *([LIKELIHOOD_NOTE] if any(row.likelihood for row in rows) else []),
        *([PLAN_NOTE] if "The plan" in tables else []),
        *fidelity(runs),
        *sources(runs),
    ]


def _tables(rows: list[Result], more: dict[str, Cells | None]) -> dict[str, Cells]:
    """The report's tables by title; one without lines is left out."""
    found = {"Scores": score_table(rows), "Differences": difference_table(rows), "Cost": cost_table(rows), **more}
    return {title: cells for title, cells in found.items() if cells is not None and cells[1]}


def corpus_notes(rows: list[Result]) -> list[str]:
    """How the scores are computed that are of all answers together."""
    names = [name for name in METRICS if any(name in row.metrics for row in rows)]
    found = {name: corpus for name in names if (corpus := METRICS[name].corpus) is not None}
    return [
        f"{METRICS[name].column} is of all answers of a suite together (the answers under several sampling seeds are "
        "one corpus) and no mean of sentences; its intervals and paired differences rest on the jackknife's "
        "pseudo-values of the ids. Samples are ranked, shown and weights chosen by the mean of its sentence scores. "
        f"sacrebleu's signature: {corpus.signature()}."
        for name, corpus in found.items()
    ]


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

PASS_NOTE = (
    "pass@k is the chance that of k answers to a prompt one is right, estimated without bias from all its sampled "
    "answers (Chen et al. 2021, equation 1), mean over prompts."
)
LIKELIHOOD_NOTE = (
    "Perplexity is exp of the mean NLL of a token over all supervised positions of the test rows; ECE is the expected "
    "calibration error of the likeliest token's probability, 15 bins of equal width (Guo et al. 2017); top-1 is how "
    "often that token is the text's own. Their intervals rest on the jackknife's pseudo-values of the rows."
)


def _markdown(contents: Contents, plots: dict[str, Path]) -> str:
    parts = [f"# Study {contents.study}", *contents.verdict]
    for title, cells in contents.tables.items():
        parts += [f"## {title}", markdown(*cells)]
    parts += [*contents.notes, "## Plots", *(f"![{title}]({path.name})" for title, path in plots.items())]
    lines = [f"* {row}: {', '.join(f'`{name}`' for name in names)}" for row, names in contents.artefacts.items()]
    return "\n\n".join([*parts, "## Artefacts", "\n".join(lines)]) + "\n"
