"""The report's tables: header and cells, for a terminal, Markdown and HTML alike."""

from collections import Counter
from collections.abc import Callable

from srd.metrics import METRICS, NLL
from srd.pipeline.catalogue import STAGES
from srd.report.scores import COMPARED, READ_BY, Result
from srd.report.stats import LEVEL, POWER, Difference, MeanInterval

Cells = tuple[list[str], list[list[str]]]
Column = tuple[str, Callable[[Result], str]]
"""A title, and the cell of a row."""
IDS_ONLY = "ids only"
"""Said of an interval that does not cover training seeds."""


def score_table(rows: list[Result]) -> Cells:
    """The headline metric with its interval, then the published figure where the study names one, then what else is
    known of the answers and of the likelihoods; nothing of what no row has."""
    columns = _score_columns(rows)
    return [title for title, _ in columns], [[cell(row) for _, cell in columns] for row in rows]


def _score_columns(rows: list[Result]) -> list[Column]:
    name = rows[0].metric
    columns: list[Column] = [("", lambda row: row.arm), ("suite", lambda row: row.suite)]
    columns += _estimate(COMPARED[name].column, lambda row: _score(row, name), COMPARED[name].shown)
    if any(row.published is not None for row in rows):
        columns.append(
            ("published", lambda row: "" if row.published is None else COMPARED[row.metric].shown(row.published))
        )
    columns.append(("n", lambda row: f"{row.num_runs}×{row.num_ids}×{row.num_seeds}"))
    for other in METRICS:
        if other != name and any(other in row.metrics for row in rows):
            columns.append((METRICS[other].column, lambda row, other=other: _other_metric(row, other)))
    for title in dict.fromkeys(title for row in rows for title in row.pass_at):
        columns += _estimate(title, lambda row, title=title: row.pass_at.get(title), "{:.1f}".format)
    if any(row.metric != NLL for row in rows):
        columns.append(("NLL", lambda row: f"{row.nll:.2f}"))
    if any(row.cut_share is not None for row in rows):
        columns.append(("cut", lambda row: "" if row.cut_share is None else f"{100 * row.cut_share:.1f} %"))
        columns.append(("length", lambda row: "" if row.mean_tokens is None else f"{row.mean_tokens:.1f}"))
    return columns + (_likelihood_columns(name) if any(row.likelihood for row in rows) else [])


def _likelihood_columns(headline: str) -> list[Column]:
    """Of rows that were read: the perplexity where it does not stand in front, and the calibration."""
    columns = [] if headline == READ_BY else _estimate("perplexity", lambda row: _score(row, READ_BY))
    columns += _estimate("ECE, %", lambda row: row.likelihood and row.likelihood.ece)
    return [*columns, ("top-1, %", lambda row: "" if row.likelihood is None else f"{row.likelihood.accuracy:.2f}")]


def _estimate(
    title: str, found: Callable[[Result], MeanInterval | None], shown: Callable[[float], str] = "{:.2f}".format
) -> list[Column]:
    """A mean and its interval; blank where a row has none."""

    def mean(row: Result) -> str:
        estimate = found(row)
        return "" if estimate is None else shown(estimate.mean)

    def interval(row: Result) -> str:
        estimate = found(row)
        return "" if estimate is None else f"{estimate.low:.2f} … {estimate.high:.2f}"

    return [(title, mean), ("95 % interval", interval)]


def _score(row: Result, name: str) -> MeanInterval | None:
    """A row's value of what heads the table, which another suite of it may not have."""
    if row.metric == name:
        return row.score
    return row.likelihood.perplexity if name == READ_BY and row.likelihood is not None else None


def _other_metric(row: Result, name: str) -> str:
    return METRICS[name].shown(row.metrics[name]) if name in row.metrics else ""


def difference_table(rows: list[Result]) -> Cells:
    """Every arm against every arm it is compared with: its metric and the perplexity with their tests, passes and
    seconds."""
    cost = {row.arm: row.cost for row in rows}
    found = [(row, *difference) for row in rows for difference in differences_of(row)]
    several = len({metric for _, _, metric, _ in found}) > 1
    header = ["", "against", "suite", *(["metric"] if several else []), "difference", "95 % interval", "p (Holm)"]
    return [*header, "detectable", "runs", "sample passes", "seconds"], [
        [
            row.arm,
            other,
            row.suite,
            *([metric] if several else []),
            *_difference(estimate),
            _p(estimate.p_holm),
            "" if estimate.detectable is None else f"{estimate.detectable:.2f}",
            str(estimate.num_runs),
            _share(row.cost.sample_passes, cost[other].sample_passes),
            _share(row.cost.seconds, cost[other].seconds),
        ]
        for row, other, metric, estimate in found
    ]


def difference_notes(rows: list[Result]) -> list[str]:
    """What the columns of `difference_table` are; nothing where nothing is compared."""
    found = [(column, estimate) for row in rows for _, column, estimate in differences_of(row)]
    count = Counter(column for column, _ in found)
    notes = [
        f"p (Holm) is of a two-sided paired t test, after Holm's correction for all comparisons of this report: "
        f"{' and '.join(f'{number} of {column}' for column, number in count.items())}."
    ]
    seeds = sorted({estimate.num_runs for _, estimate in found if estimate.detectable is not None})
    if seeds:
        notes.append(
            f"With {' or '.join(map(str, seeds))} training seeds a difference under the one in the column “detectable” "
            f"could not have been seen: so large must the true one be for the test to find it with a power of "
            f"{100 * POWER:.0f} % at the level {100 * LEVEL:.0f} %, before Holm's correction, with the spread that was "
            "met here between seeds and ids."
        )
    if not all(estimate.covers_seeds for _, estimate in found):
        notes.append(
            f"“{IDS_ONLY}”: fewer than three training seeds, so that interval and p are of these very models on other "
            "ids, and say nothing of what another training seed would have given."
        )
    return notes if found else []


def differences_of(row: Result) -> list[tuple[str, str, Difference]]:
    """Of a row to other arms: their names, the column of what differs, by how much."""
    named = [(COMPARED[row.metric].column, row.differences), (COMPARED[READ_BY].column, row.perplexity_differences)]
    return [(other, column, estimate) for column, found in named for other, estimate in found.items()]


def _difference(estimate: MeanInterval) -> list[str]:
    covers = "" if estimate.covers_seeds else f", {IDS_ONLY}"
    return [f"{estimate.mean:+.2f}", f"{estimate.low:+.2f} … {estimate.high:+.2f}{covers}"]


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def cost_table(rows: list[Result]) -> Cells:
    """Passes, tokens and seconds, with those of some stages apart as the catalogue says, where any arm has such; one
    line an arm."""
    columns: dict[str, list[str]] = {}
    for name, stage in STAGES.items():
        if stage.cost_column is not None and _costs(rows, name):
            columns.setdefault(stage.cost_column, []).append(name)
    header = ["", "sample passes", "training tokens", "seconds", *columns, "FLOPs"]
    first = {row.arm: row for row in reversed(rows)}
    lines = []
    for arm in dict.fromkeys(row.arm for row in rows):
        cost = first[arm].cost
        apart = [sum(cost.seconds_by_stage.get(stage, 0) for stage in stages) for stages in columns.values()]
        seconds = [f"{each:.1f}" for each in (cost.seconds, *apart)]
        passes, tokens = f"{cost.sample_passes:,.0f}", f"{cost.training_tokens:,.0f}"
        lines.append([arm, passes, tokens, *seconds, f"{cost.flops:.2e}"])
    return header, lines


def _costs(rows: list[Result], stage: str) -> bool:
    """Whether a stage took time in any row."""
    return any(stage in row.cost.seconds_by_stage for row in rows)


def summary_table(rows: list[Result]) -> Cells:
    """The few columns that fit a terminal of 80 columns; tokens in thousands."""
    stages = [stage for stage in ("reflect", "score", "cache") if _costs(rows, stage)]
    header = ["", COMPARED[rows[0].metric].column, "95 %", "passes", "k tokens", "seconds", *stages]
    lines = []
    for row in rows:
        name = row.arm if len({other.suite for other in rows}) == 1 else f"{row.arm}, {row.suite}"
        cost, by_stage = row.cost, row.cost.seconds_by_stage
        counts = [f"{cost.sample_passes:,.0f}", f"{cost.training_tokens / 1000:,.0f}", f"{cost.seconds:.0f}"]
        scoring = [f"{by_stage.get(stage, 0):.0f}" for stage in stages]
        lines.append(
            [
                name,
                COMPARED[row.metric].shown(row.score.mean) + ("" if row.metric == rows[0].metric else f" {row.metric}"),
                f"{row.score.low:.1f}…{row.score.high:.1f}",
                *counts,
                *scoring,
            ]
        )
    return header, lines


def _share(ours: float, theirs: float) -> str:
    return f"{100 * ours / theirs:.1f} %"


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])
