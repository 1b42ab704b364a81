"""The report's tables: header and cells, for a terminal, Markdown and HTML alike."""

from dataclasses import replace

from srd.report.scores import Result
from srd.report.stats import MeanInterval

Cells = tuple[list[str], list[list[str]]]


def score_table(rows: list[Result]) -> Cells:
    """ROUGE-L with its interval first, then the published figure where the study names one, then what else is known of
    the answers."""
    with_published = any(row.published is not None for row in rows)
    header = [
        "",
        "suite",
        "ROUGE-L",
        "95 % interval",
        *(["published"] if with_published else []),
        "n",
        "EM",
        "NLL",
        "cut",
        "length",
    ]
    return header, [
        [
            row.arm,
            row.suite,
            f"{row.rouge_l.mean:.2f}",
            _interval(row.rouge_l),
            *([f"{row.published:.2f}" if row.published is not None else ""] if with_published else []),
            f"{row.num_runs}×{row.num_ids}×{row.num_seeds}",
            f"{row.exact_match:.1f}",
            f"{row.nll:.2f}",
            f"{100 * row.cut_share:.1f} %",
            f"{row.mean_tokens:.1f}",
        ]
        for row in rows
    ]


def difference_table(rows: list[Result]) -> Cells:
    """Every arm against every arm it is compared with: ROUGE-L, passes and seconds."""
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
    """Passes, tokens and seconds, reflection and caching apart; one line an arm."""
    header = [
        "",
        "sample passes",
        "training tokens",
        "seconds",
        "of it reflect",
        "of it cache",
        "rank…partition",
        "FLOPs",
    ]
    first = {row.arm: row for row in reversed(rows)}
    lines = []
    for arm in dict.fromkeys(row.arm for row in rows):
        cost = first[arm].cost
        by_stage = cost.seconds_by_stage
        ordering = sum(by_stage.get(stage, 0) for stage in ("rank", "filter", "partition"))
        seconds = [cost.seconds, by_stage.get("reflect", 0), by_stage.get("cache", 0), ordering]
        lines.append(
            [
                arm,
                f"{cost.sample_passes:,.0f}",
                f"{cost.training_tokens:,.0f}",
                *(f"{s:.1f}" for s in seconds),
                f"{cost.flops:.2e}",
            ]
        )
    return header, lines


def summary_table(rows: list[Result]) -> Cells:
    """The few columns that fit a terminal of 80 columns; tokens in thousands."""
    header = ["", "ROUGE-L", "95 %", "passes", "k tokens", "seconds", "reflect", "cache"]
    lines = []
    for row in rows:
        name = row.arm if len({other.suite for other in rows}) == 1 else f"{row.arm}, {row.suite}"
        cost, by_stage = row.cost, row.cost.seconds_by_stage
        counts = [f"{cost.sample_passes:,.0f}", f"{cost.training_tokens / 1000:,.0f}", f"{cost.seconds:.0f}"]
        scoring = [f"{by_stage.get(stage, 0):.0f}" for stage in ("reflect", "cache")]
        lines.append(
            [name, f"{row.rouge_l.mean:.2f}", f"{row.rouge_l.low:.1f}…{row.rouge_l.high:.1f}", *counts, *scoring]
        )
    return header, lines


def comparisons(rows: list[Result]) -> list[str]:
    """What each arm gains and costs against the first arm it is compared with, one sentence each."""
    lines = difference_table([replace(row, differences=dict(list(row.differences.items())[:1])) for row in rows])[1]
    return [
        f"{arm} against {other}, {suite}: {mean} ({interval}) ROUGE-L, {runs} training run(s); "
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
