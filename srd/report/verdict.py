"""What a study found, in words: a sentence a comparison, whichever way it falls. Pure functions of the rows."""

from collections import Counter
from dataclasses import dataclass
from math import floor, log10

from srd.report.scores import COMPARED, Result
from srd.report.stats import LEVEL, SEEDS_NEEDED
from srd.report.tables import differences_of

MANY = 6
"""Comparisons that are read one by one; more are counted first, and those told that stand."""
MOST_TOLD = 12
"""Sentences that are told one by one."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another on a suite: ours minus theirs, and our cost as a share of theirs."""

    arm: str
    other: str
    suite: str
    column: str
    """Title of what differs."""
    higher_is_better: bool
    mean: float
    low: float
    high: float
    """With `low`, the 95 % interval of the difference."""
    num_runs: int
    passes: float
    """Sample passes, ours by theirs."""
    seconds: float
    """Likewise."""
    p_holm: float
    """Of the test that nothing differs, corrected for all comparisons of the report."""
    detectable: float | None
    """The smallest true difference that so many training seeds would likely have shown; None of fewer than three."""

    @property
    def stands(self) -> bool:
        """Whether it is found after the correction, too."""
        return self.outcome != "level" and self.p_holm < LEVEL

    @property
    def relation(self) -> str:
        """Above or below where zero is outside the interval, else level."""
        if self.low > 0:
            return "above"
        return "below" if self.high < 0 else "level"

    @property
    def outcome(self) -> str:
        """Whether ours is better, worse, or level."""
        if self.relation == "level":
            return "level"
        return "better" if (self.relation == "above") == self.higher_is_better else "worse"

    @property
    def digits(self) -> int:
        """Decimals of the numbers: two, or as many as show two figures of the largest."""
        largest = max(abs(value) for value in (self.mean, self.low, self.high))
        return 2 if largest == 0 else max(2, 1 - floor(log10(largest)))

    def sentence(self) -> str:
        """Who against whom, by how much, how surely, and at what cost."""
        mean, low, high = (signed(value, self.digits) for value in (self.mean, self.low, self.high))
        interval = f"{low} … {high}"
        if self.outcome == "level":
            found = f"level with {self.other} on {self.suite} (difference {mean} {self.column}, 95 % interval "
            found += f"{interval}, which has zero in it{self._unseen()})"
        else:
            # Where less is better, above does not speak for itself.
            meaning = "" if self.higher_is_better else f", which is {self.outcome}"
            found = (
                f"{abs(self.mean):.{self.digits}f} {self.column} {self.relation} {self.other} on {self.suite}{meaning} "
            )
            found += f"(95 % interval of the difference {interval})"
        cost = f"at {percent(self.passes)} of its sample passes and {percent(self.seconds)} of its seconds"
        return f"{self.arm} is {found}, {cost}; {seeds(self.num_runs)}."

    def _unseen(self) -> str:
        """What a level result does not rule out."""
        if not self.detectable:
            return ""
        return f"; under {self.detectable:.{self.digits}f} it could not have been seen"


def comparisons_of(rows: list[Result]) -> list[Comparison]:
    """Every arm against each that it is compared with, in the order of the table."""
    cost = {row.arm: row.cost for row in rows}
    better = {metric.column: metric.higher_is_better for metric in COMPARED.values()}
    return [
        Comparison(
            arm=row.arm,
            other=other,
            suite=row.suite,
            column=column,
            higher_is_better=better[column],
            mean=found.mean,
            low=found.low,
            high=found.high,
            num_runs=row.num_runs,
            passes=row.cost.sample_passes / cost[other].sample_passes,
            seconds=row.cost.seconds / cost[other].seconds,
            p_holm=found.p_holm,
            detectable=found.detectable,
        )
        for row in rows
        for other, column, found in differences_of(row)
    ]


def verdict(rows: list[Result]) -> list[str]:
    """The sentences that a report opens with: of many comparisons the count, what their intervals leave out, then one a
    comparison (of many those that stand), the arm that is compared most first; without any, the scores alone."""
    found = comparisons_of(rows)
    if not found:
        return _alone(rows)
    said = [tally(found)] if len(found) > MANY else []
    if min(each.num_runs for each in found) < SEEDS_NEEDED:
        said.append(
            "With fewer than three training seeds an interval does not cover training seeds: it says what other test "
            "samples would change, not what another training run would."
        )
    # What a study is about is compared with every control; the controls, with fewer.
    times = Counter(each.arm for each in found)
    told = [each for each in found if each.stands or len(found) <= MANY]
    told.sort(key=lambda each: -times[each.arm])
    said += [each.sentence() for each in told[:MOST_TOLD]]
    if len(told) < len(found) or len(told) > MOST_TOLD:
        said.append("The table of differences has every comparison.")
    return said


def tally(found: list[Comparison]) -> str:
    """How many comparisons came out which way, and how many of them stand."""
    count = {outcome: sum(each.outcome == outcome for each in found) for outcome in ("better", "worse", "level")}
    better, worse = (sum(each.outcome == outcome and each.stands for each in found) for outcome in ("better", "worse"))
    return (
        f"Of {len(found)} comparisons {count['better']} came out better, {count['worse']} worse and {count['level']} "
        f"level, each by its own 95 % interval; corrected for their number (Holm), {better} stay better and {worse} "
        "worse."
    )


def _alone(rows: list[Result]) -> list[str]:
    """Of a study in which nothing is compared."""
    arms = [row for row in rows if row.target == "distill"]
    if not arms:
        return ["Nothing is distilled in this study yet: there is nothing to compare."]
    scores = [
        f"{row.arm} scores {row.score.mean:.2f} {COMPARED[row.metric].column} on {row.suite}, 95 % interval "
        f"{row.score.low:.2f} … {row.score.high:.2f} ({seeds(row.num_runs)})."
        for row in arms
    ]
    return ["No arm is compared with another; versus=[ARM] names one of the same training seeds.", *scores]


def signed(value: float, digits: int) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def percent(share: float) -> str:
    """A share in whole per cent, or with a digit below one."""
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1f} %"


def seeds(count: int) -> str:
    return f"{count} training seed" + ("" if count == 1 else "s")
