"""The report's tables: header and cells, for a terminal, Markdown and HTML alike."""

from dataclasses import replace

from srd.metrics import CRITERIA, METRICS, NLL
from srd.pipeline.catalogue import STAGES
from srd.report.scores import Result
from srd.report.stats import MeanInterval

Cells = tuple[list[str], list[list[str]]]


def score_table(rows: list[Result]) -> Cells:
    """The headline metric with its interval, then the published figure where the study names one, then what else is
    known of the answers."""
    with_published = any(row.published is not None for row in rows)
    others = [name for name in METRICS if name != rows[0].metric and any(name in row.metrics for row in rows)]
    header = ["", "suite", CRITERIA[rows[0].metric].column, "95 % interval", *(["published"] if with_published else [])]
    header += ["n", *(METRICS[name].column for name in others), *([] if rows[0].metric == NLL else ["NLL"])]
    header += ["cut", "length"]
    return header, [_score_line(row, with_published, others) for row in rows]


def _score_line(row: Result, with_published: bool, others: list[str]) -> list[str]:
    metric = CRITERIA[row.metric]
    line = [row.arm, row.suite, metric.shown(row.score.mean), _interval(row.score)]
    if with_published:
        line.append(metric.shown(row.published) if row.published is not None else "")
    line.append(f"{row.num_runs}×{row.num_ids}×{row.num_seeds}")
    line += [METRICS[name].shown(row.metrics[name]) if name in row.metrics else "" for name in others]
    line += [] if row.metric == NLL else [f"{row.nll:.2f}"]
    return [*line, f"{100 * row.cut_share:.1f} %", f"{row.mean_tokens:.1f}"]


def difference_table(rows: list[Result]) -> Cells:
    """Every arm against every arm it is compared with: the headline metric, passes and seconds."""
    cost = {row.arm: row.cost for row in rows}
    header = ["", "against", "suite", "difference", "95 % interval", "runs", "sample passes", "seconds"]
    return header, [
        [
            row.arm,
            other,
            row.suite,
            f"{estimate.mean:+.2f}",
            f"{estimate.low:+.2f} … {estimate.high:+.2f}",
            str(row.num_runs),
            _share(row.cost.sample_passes, cost[other].sample_passes),
            _share(row.cost.seconds, cost[other].seconds),
        ]
        for row in rows
        for other, estimate in row.differences.items()
    ]


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
    scored = ["score"] if any("score" in row.cost.seconds_by_stage for row in rows) else []
    stages = ["reflect", *scored, "cache"]
    header = ["", CRITERIA[rows[0].metric].column, "95 %", "passes", "k tokens", "seconds", *stages]
    lines = []
    for row in rows:
        name = row.arm if len({other.suite for other in rows}) == 1 else f"{row.arm}, {row.suite}"
        cost, by_stage = row.cost, row.cost.seconds_by_stage
        counts = [f"{cost.sample_passes:,.0f}", f"{cost.training_tokens / 1000:,.0f}", f"{cost.seconds:.0f}"]
        scoring = [f"{by_stage.get(stage, 0):.0f}" for stage in stages]
        lines.append(
            [
                name,
                CRITERIA[row.metric].shown(row.score.mean),
                f"{row.score.low:.1f}…{row.score.high:.1f}",
                *counts,
                *scoring,
            ]
        )
    return header, lines


def comparisons(rows: list[Result]) -> list[str]:
    """What each arm gains and costs against the first arm it is compared with, one sentence each."""
    lines = difference_table([replace(row, differences=dict(list(row.differences.items())[:1])) for row in rows])[1]
    column = CRITERIA[rows[0].metric].column
    return [
        f"{arm} against {other}, {suite}: {mean} ({interval}) {column}, {runs} training run(s); "
        f"{passes} of its sample passes, {seconds} of its seconds"
        for arm, other, suite, mean, interval, runs, passes, seconds in lines
    ]


def _share(ours: float, theirs: float) -> str:
    return f"{100 * ours / theirs:.1f} %"


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def _interval(estimate: MeanInterval) -> str:
    return f"{estimate.low:.2f} … {estimate.high:.2f}"
