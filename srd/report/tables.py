"""The report's tables: header and cells, for a terminal, Markdown and HTML alike."""

from srd.metrics import METRICS
from srd.pipeline.catalogue import STAGES
from srd.report.scores import COMPARED, Result
from srd.report.stats import MeanInterval

Cells = tuple[list[str], list[list[str]]]


def score_table(rows: list[Result]) -> Cells:
    """The headline metric with its interval, then the published figure where the study names one, then what else is
    known of the answers."""
    with_published = any(row.published is not None for row in rows)
    others = [name for name in METRICS if name != rows[0].metric and any(name in row.metrics for row in rows)]
    header = ["", "suite", COMPARED[rows[0].metric].column, "95 % interval", *(["published"] if with_published else [])]
    header += ["n", *(METRICS[name].column for name in others), "NLL", "cut", "length"]
    if not any(row.likelihood for row in rows):
        return header, [_score_line(row, rows[0].metric, with_published, others) for row in rows]
    lines = [[*_score_line(row, rows[0].metric, with_published, others), *_likelihood_cells(row)] for row in rows]
    return [*header, "perplexity", "95 % interval", "ECE, %", "95 % interval", "top-1, %"], lines


def _likelihood_cells(row: Result) -> list[str]:
    if row.likelihood is None:
        return [""] * 5
    perplexity, ece = row.likelihood.perplexity, row.likelihood.ece
    shown = [f"{perplexity.mean:.2f}", _interval(perplexity), f"{ece.mean:.2f}", _interval(ece)]
    return [*shown, f"{row.likelihood.accuracy:.2f}"]


def _score_line(row: Result, name: str, with_published: bool, others: list[str]) -> list[str]:
    """The cells of a row in a table whose first metric is `name`, which a suite without prompts may not have."""
    metric = COMPARED[row.metric]
    score = [metric.shown(row.score.mean), _interval(row.score)] if row.metric == name else ["", ""]
    line = [row.arm, row.suite, *score]
    if with_published:
        line.append(metric.shown(row.published) if row.published is not None else "")
    line.append(f"{row.num_runs}×{row.num_ids}×{row.num_seeds}")
    line += [METRICS[name].shown(row.metrics[name]) if name in row.metrics else "" for name in others]
    cut = "" if row.cut_share is None else f"{100 * row.cut_share:.1f} %"
    return [*line, f"{row.nll:.2f}", cut, "" if row.mean_tokens is None else f"{row.mean_tokens:.1f}"]


def difference_table(rows: list[Result]) -> Cells:
    """Every arm against every arm it is compared with: its metric and the perplexity, passes and seconds."""
    cost = {row.arm: row.cost for row in rows}
    found = [(row, *difference) for row in rows for difference in _differences(row)]
    several = len({metric for _, _, metric, _ in found}) > 1
    header = ["", "against", "suite", *(["metric"] if several else []), "difference", "95 % interval", "runs"]
    return [*header, "sample passes", "seconds"], [
        [
            row.arm,
            other,
            row.suite,
            *([metric] if several else []),
            *_difference(estimate),
            str(row.num_runs),
            _share(row.cost.sample_passes, cost[other].sample_passes),
            _share(row.cost.seconds, cost[other].seconds),
        ]
        for row, other, metric, estimate in found
    ]


def _differences(row: Result) -> list[tuple[str, str, MeanInterval]]:
    """Of a row to other arms: their names, the column of what differs, by how much."""
    named = [
        (COMPARED[row.metric].column, row.differences),
        (COMPARED["perplexity"].column, row.perplexity_differences),
    ]
    return [(other, column, estimate) for column, found in named for other, estimate in found.items()]


def _difference(estimate: MeanInterval) -> list[str]:
    return [f"{estimate.mean:+.2f}", f"{estimate.low:+.2f} … {estimate.high:+.2f}"]


def cost_table(rows: list[Result]) -> Cells:
    """Passes, tokens and seconds, with those of some stages apart as the catalogue says; one line an arm."""
    columns: dict[str, list[str]] = {}
    for name, stage in STAGES.items():
        if stage.cost_column is not None:
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


def summary_table(rows: list[Result]) -> Cells:
    """The few columns that fit a terminal of 80 columns; tokens in thousands."""
    header = ["", COMPARED[rows[0].metric].column, "95 %", "passes", "k tokens", "seconds", "reflect", "cache"]
    lines = []
    for row in rows:
        name = row.arm if len({other.suite for other in rows}) == 1 else f"{row.arm}, {row.suite}"
        cost, by_stage = row.cost, row.cost.seconds_by_stage
        counts = [f"{cost.sample_passes:,.0f}", f"{cost.training_tokens / 1000:,.0f}", f"{cost.seconds:.0f}"]
        scoring = [f"{by_stage.get(stage, 0):.0f}" for stage in ("reflect", "cache")]
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


def comparisons(rows: list[Result]) -> list[str]:
    """What each arm gains and costs against the first arm it is compared with, one sentence each."""
    cost, lines = {row.arm: row.cost for row in rows}, []
    for row in rows:
        for other, column, estimate in _differences(row)[:1]:
            mean, interval = _difference(estimate)
            passes = _share(row.cost.sample_passes, cost[other].sample_passes)
            seconds = _share(row.cost.seconds, cost[other].seconds)
            lines.append(
                f"{row.arm} against {other}, {row.suite}: {mean} ({interval}) {column}, "
                f"{row.num_runs} training run(s); {passes} of its sample passes, {seconds} of its seconds"
            )
    return lines


def _share(ours: float, theirs: float) -> str:
    return f"{100 * ours / theirs:.1f} %"


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def _interval(estimate: MeanInterval) -> str:
    return f"{estimate.low:.2f} … {estimate.high:.2f}"
