"""The report as one page to look through: it loads nothing, and every text of a study is escaped."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from srd.metrics import CRITERIA
from srd.report.explorer import Samples
from srd.report.figures import COSTS, SMOOTHING, Curve, Plane, thinned
from srd.report.tables import Cells
from srd.report.verdict import Comparison

SCRIPTS = ("plots.js", "charts.js", "samples.js", "page.js")
STEPS = 200
"""Points of a curve in the page."""
READ_AT_ONCE = 8
"""Sentences of a verdict that are not folded."""
FOLDED = ("The plan",)
"""Tables that say nothing of the result."""


@dataclass(frozen=True)
class Contents:
    """All that the page shows."""

    study: str
    verdict: list[str]
    comparisons: list[Comparison]
    planes: list[Plane]
    curves: list[Curve]
    metric: str
    """Of the dev scores."""
    training: Samples | None
    held_out: list[Samples]
    tables: dict[str, Cells]
    notes: list[str]
    artefacts: dict[str, list[str]]
    """Names by row of the table."""


def page(contents: Contents) -> str:
    """The whole page as HTML."""
    sections = [part for part in _sections(contents) if part[2]]
    links = "".join(f'<a href="#{id}-section">{escape(title)}</a>' for id, title, _ in sections)
    body = [f'<section id="{id}-section"><h2>{escape(title)}</h2>\n{inner}</section>' for id, title, inner in sections]
    folder = Path(__file__).parent
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = "\n".join(['"use strict";', *((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)])
    template = Template((folder / "template.html").read_text(encoding="utf-8"))
    return template.substitute(
        study=escape(contents.study),
        policy=_policy(f"\n{style}\n", script),
        style=style,
        script=script,
        contents=links,
        body="\n".join([_verdict(contents.verdict), *body, _artefacts(contents.artefacts)]),
        data=_embedded(_data(contents)),
    )


def _policy(style: str, script: str) -> str:
    """What a browser may do with the page: apply its own style, run its own script, and load nothing."""
    allowed = " ".join(
        f"{kind} 'sha256-{_digest(text)}';" for kind, text in (("style-src", style), ("script-src", script))
    )
    return f"default-src 'none'; {allowed} base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(data: dict[str, Any]) -> str:
    """JSON that no text in it can end or comment out."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _data(contents: Contents) -> dict[str, Any]:
    """What the plots and the samples are drawn from."""
    return {
        "forest": _forest(contents.comparisons),
        "planes": [_plane(plane) for plane in contents.planes],
        "costs": [{"name": name, "title": title} for name, title in COSTS.items()],
        "training": {
            "column": CRITERIA[contents.metric].column,
            "runs": [
                asdict(curve) | {"loss": _short(curve.loss), "dev": _short(curve.dev)} for curve in contents.curves
            ],
        },
        "training_samples": contents.training.as_dict() if contents.training else None,
        "held_out": [samples.as_dict() for samples in contents.held_out],
    }


def _forest(found: list[Comparison]) -> list[dict[str, Any]]:
    """A panel for each thing that differs."""
    panels: dict[str, list[Comparison]] = {}
    for each in found:
        panels.setdefault(each.column, []).append(each)
    return [
        {
            "column": column,
            "higher_is_better": panel[0].higher_is_better,
            "rows": [asdict(each) | {"outcome": each.outcome, "digits": each.digits} for each in panel],
        }
        for column, panel in panels.items()
    ]


def _plane(plane: Plane) -> dict[str, Any]:
    """With the front of each cost as places in `points`."""
    points = [
        {
            "arm": point.arm,
            "is_arm": point.is_arm,
            **asdict(point.score),
            "cost": {name: getattr(point.cost, name) for name in COSTS},
        }
        for point in plane.points
    ]
    fronts = {name: [plane.points.index(point) for point in plane.front(name)] for name in COSTS}
    return {"suite": plane.suite, "column": plane.column, "points": points, "fronts": fronts}


def _short(values: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return [(step, round(value, 4)) for step, value in thinned(values, STEPS)]


def _sections(contents: Contents) -> list[tuple[str, str, str]]:
    """Anchor, title and inner HTML of every section, in the order of the page; without inner it is left out."""
    training = contents.training
    return [
        ("forest", "Differences", _place("forest", FOREST) if contents.comparisons else ""),
        ("cost", "Score against cost", _place("cost", COST) if contents.planes else ""),
        ("training", "Training curves", _place("training", TRAINING) if contents.curves else ""),
        (
            "difficulty",
            "Difficulty",
            _place("difficulty", f"{DIFFICULTY} Arm: {training.about['arm']}.") if training else "",
        ),
        ("tables", "Tables", _tables(contents.tables, contents.notes)),
        ("held-out", "Held-out samples", "".join(map(_suite, range(len(contents.held_out)), contents.held_out))),
        ("training-samples", "Training samples", _training_samples(training) if training else ""),
    ]


FOREST = (
    "Each arm minus each arm that it is compared with, with the 95 % interval of the difference. An interval that "
    "crosses the line is level."
)
COST = (
    "Whiskers are 95 % intervals. The dashed line is the Pareto front: arms on it are beaten by no arm that costs as "
    "little. Dotted lines are models before distillation."
)
TRAINING = (
    f"One training run an arm, of its smallest seed. The loss is a mean of {SMOOTHING} steps; dotted vertical lines "
    "are phase borders. Losses of different temperatures and SFT weights are not comparable."
)
DIFFICULTY = "Every training sample by two signals, coloured by the phase that it enters in; grey ones were dropped."


def _place(id: str, caption: str) -> str:
    """Where a plot is drawn."""
    missing = "<noscript><p>The plot needs JavaScript; its numbers are in the tables.</p></noscript>"
    return f'<figure><figcaption>{escape(caption)}</figcaption><div id="{id}"></div>{missing}</figure>'


def _suite(index: int, samples: Samples) -> str:
    several = any(arm["answers"] > 1 for arm in samples.about["arms"])
    seeds = "Scores are means over training and sampling seeds; the answers shown are the first of each. "
    said = f"{seeds if several else ''}{_left_out(samples)}"
    title = f"<h3>{escape(samples.about['suite'])}</h3>"
    return f'{title}<p class="muted">{escape(said)}</p><div id="held-out-{index}"></div>{SCRIPTED}'


def _training_samples(samples: Samples) -> str:
    said = f"Of the arm {samples.about['arm']}, easiest first. {_left_out(samples)}"
    return f'<p class="muted">{escape(said)}</p><div id="training-samples"></div>{SCRIPTED}'


SCRIPTED = "<noscript><p>The samples need JavaScript.</p></noscript>"


def _left_out(samples: Samples) -> str:
    """What the page had no room for."""
    said = []
    if samples.cut_at is not None:
        said.append(f"To keep this page small, texts are cut to {samples.cut_at:,} characters.")
    if len(samples.rows) < samples.total:
        said.append(
            f"{len(samples.rows):,} of {samples.total:,} samples are here, evenly spaced; the artefacts have all."
        )
    return " ".join(said)


def _verdict(sentences: list[str]) -> str:
    """The sentences that matter at once; of very many the rest folded."""
    first, rest = sentences[:READ_AT_ONCE], sentences[READ_AT_ONCE:]
    folded = f"<details><summary>{len(rest)} more</summary>{_list(rest)}</details>" if rest else ""
    lead = f"<p>{_unbroken(first[0])}</p>" if len(sentences) == 1 else _list(first)
    return f'<section class="verdict" aria-label="Verdict">{lead}{folded}</section>'


def _list(sentences: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{_unbroken(sentence)}</li>' for sentence in sentences)}</ul>"


def _unbroken(sentence: str) -> str:
    """A share and an interval stay on one line."""
    return escape(sentence).replace(" %", "&nbsp;%").replace(" … ", "&nbsp;…&nbsp;")


def _tables(tables: dict[str, Cells], notes: list[str]) -> str:
    open_ones = [
        f"<h3>{escape(title)}</h3>{_table(title, *cells)}" for title, cells in tables.items() if title not in FOLDED
    ]
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    folded = [_folded(title, _table(title, *tables[title])) for title in FOLDED if title in tables]
    return "\n".join([*open_ones, f'<div class="notes">{said}</div>', *folded])


def _table(title: str, header: list[str], lines: list[list[str]]) -> str:
    """A table that scrolls in its own box, which the keyboard reaches."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(f"<tr>{_line(line)}</tr>\n" for line in lines)
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
    return f'{box}<table class="numbers"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _line(cells: list[str]) -> str:
    first, *others = map(escape, cells)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others)


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def _artefacts(named: dict[str, list[str]]) -> str:
    lines = [
        f"<li>{escape(row)}: {' '.join(f'<code>{escape(name)}</code>' for name in names)}</li>"
        for row, names in named.items()
    ]
    return _folded("Artefacts", f"<ul>{''.join(lines)}</ul>")
