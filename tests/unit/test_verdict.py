"""What the report says in words, and the forms that texts of a study take in it: whichever way a result falls."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from srd.report.costs import Cost
from srd.report.explorer import Samples, fitted
from srd.report.figures import pareto, smoothed, thinned
from srd.report.latex import MARKS, escaped, latex
from srd.report.page import page
from srd.report.scores import Result
from srd.report.stats import Difference, MeanInterval
from srd.report.verdict import tally, verdict
from tests.pages import HOSTILE, comparison, contents

OF = "(95 % interval of the difference"
DIFFERENCE = "on heldout (difference"
ZERO = "which has zero in it; under 0.60 it could not have been seen)"
WORDED = {
    (-3.60, -4.66, -2.58, True): f"3.60 ROUGE-L below plain on heldout {OF} -4.66 … -2.58)",
    (1.39, 0.01, 2.80, True): f"1.39 ROUGE-L above plain on heldout {OF} +0.01 … +2.80)",
    (0.79, -0.3, 1.8, True): f"level with plain {DIFFERENCE} +0.79 ROUGE-L, 95 % interval -0.30 … +1.80, {ZERO}",
    (0.0, 0.0, 0.0, True): f"level with plain {DIFFERENCE} 0.00 ROUGE-L, 95 % interval 0.00 … 0.00, {ZERO}",
    (0.021, 0.0004, 0.04, True): f"0.021 ROUGE-L above plain on heldout {OF} 0.000 … +0.040)",
    (2.0, 1.0, 3.0, False): f"2.00 ROUGE-L above plain on heldout, which is worse {OF} +1.00 … +3.00)",
    (-2.0, -3.0, -1.0, False): f"2.00 ROUGE-L below plain on heldout, which is better {OF} -3.00 … -1.00)",
}
"""A mean, its interval, whether more is better; and what is said of it."""


@pytest.mark.parametrize("found", WORDED)
def test_a_difference_is_said_as_it_falls(found: tuple[float, float, float, bool]) -> None:
    assert len(WORDED) == 7
    mean, low, high, higher_is_better = found
    said = comparison(mean=mean, low=low, high=high, higher_is_better=higher_is_better).sentence()
    cost = "at 60 % of its sample passes and 76 % of its seconds; 3 training seeds."
    assert said == f"SRD is {WORDED[found]}, {cost}"


def above(runs: int = 3) -> Difference:
    """One above, for sure."""
    detectable = 0.6 if runs >= 3 else None
    return Difference(1.0, 0.5, 1.5, p=0.01, p_holm=0.01, num_runs=runs, spread=0.1, detectable=detectable)


def result(
    arm: str, runs: int, differences: dict[str, Difference], target: str = "distill", passes: float = 60
) -> Result:
    return Result(
        arm=arm, target=target, suite="heldout", num_runs=runs, num_ids=500, num_seeds=1, metric="rouge_l",
        score=MeanInterval(17.7, 16.3, 19.09), metrics={"rouge_l": 17.7}, nll=3.88, cut_share=0.0, mean_tokens=12.0,
        cost=Cost(sample_passes=passes, seconds=passes / 2), fingerprints=[], differences=differences,
    )  # fmt: skip


@pytest.mark.parametrize(("runs", "covered"), [(1, False), (2, False), (3, True)])
def test_fewer_than_three_seeds_are_no_measure_of_their_spread(runs: int, covered: bool) -> None:
    rows = [result("plain", runs, {}, passes=100), result("SRD", runs, {"plain": above(runs)})]
    said = verdict(rows)
    plural = "training seed." if runs == 1 else "training seeds."
    assert said[-1].startswith("SRD is 1.00 ROUGE-L above plain on heldout")
    assert said[-1].endswith(f"at 60 % of its sample passes and 60 % of its seconds; {runs} {plural}")
    assert len(said) == (1 if covered else 2)
    assert covered or "does not cover training seeds" in said[0], "before what it limits, where no page folds it away"


def test_what_a_study_is_about_is_told_before_its_controls() -> None:
    rows = [result("plain", 3, {}), result("short", 3, {"plain": above()})]
    rows += [result("SRD", 3, {"plain": above(), "short": above()})]
    assert [line.partition(" is ")[0] for line in verdict(rows)] == ["SRD", "SRD", "short"]


def test_many_comparisons_are_counted_first() -> None:
    found = [comparison(mean=mean) for mean in (2, 2, -2, 0)] + [comparison(mean=2, higher_is_better=False)]
    assert tally(found).startswith("Of 5 comparisons 2 came out better, 2 worse and 1 level")
    by_chance = [comparison(mean=mean, p_holm=0.2) for mean in (2, -2)]
    said = "corrected for their number (Holm), 2 stay better and 2 worse."
    assert tally(found).endswith(said)
    assert tally(found + by_chance).endswith(said)
    assert tally(found + by_chance).startswith("Of 7 comparisons 3 came out better, 3 worse and 1 level")
    others = {name: above() for name in ("plain", "random", "short", "long")}
    rows = [*(result(name, 3, {}) for name in others), result("SRD", 3, others)]
    assert len(verdict(rows)) == 4, "so few are read one by one"
    others = {f"plain {number}": above() for number in range(13)}
    others |= {"level": replace(above(), low=-0.5), "chance": replace(above(), p_holm=0.2)}
    rows = [*(result(name, 3, {}) for name in others), result("SRD", 3, others)]
    said = verdict(rows)
    assert said[0].startswith("Of 15 comparisons 14 came out better")
    assert len(said) == 14
    assert all(f"above plain {number} on" in line for number, line in enumerate(said[1:-1]))
    assert said[-1] == "The table of differences has every comparison."


def test_without_a_comparison_the_scores_speak_alone() -> None:
    alone = verdict([result("student (tiny)", 1, {}, target="student"), result("SRD", 1, {})])
    assert alone[0].startswith("No arm is compared with another")
    assert alone[1] == "SRD scores 17.70 ROUGE-L on heldout, 95 % interval 16.30 … 19.09 (1 training seed)."
    assert len(alone) == 2
    nothing = verdict([result("teacher (tiny)", 1, {}, target="teacher")])
    assert nothing == ["Nothing is distilled in this study yet: there is nothing to compare."]


def test_the_front_has_the_arms_that_none_beats_at_its_cost() -> None:
    points = [(3.0, 5.0), (1.0, 2.0), (2.0, 1.0), (2.0, 4.0), (4.0, 5.0), (1.0, 2.0)]
    assert pareto(points, higher_is_better=True) == [1, 3, 0]
    assert pareto(points, higher_is_better=False) == [1, 2]
    assert pareto([], higher_is_better=True) == []


def test_a_curve_keeps_its_means_and_its_end() -> None:
    assert smoothed([1.0, 3.0, 5.0, 9.0], 2) == [1.0, 2.0, 4.0, 7.0]
    values = [(step, 0.0) for step in range(1, 1001)]
    assert len(thinned(values, 200)) == 200
    assert thinned(values, 300)[-1] == (1000, 0.0)
    assert thinned(values, 1000) == values


def test_latex_prints_every_text_as_it_is() -> None:
    assert escaped("50 % & <b>_x_</b> {a}\\n ~^# $5") == (
        r"50 \% \& \textless{}b\textgreater{}\_x\_\textless{}/b\textgreater{} \{a\}\textbackslash{}n "
        r"\textasciitilde{}\textasciicircum{}\# \$5"
    )
    assert escaped("λ = 0.75,\n τ → 2 … 3×500") == r"$\lambda$ = 0.75, $\tau$ $\to$ 2 \ldots{} 3$\times$500"
    # Nothing that LaTeX acts on is left of any mark's own.
    for mark in MARKS:
        assert not re.search(r"(?<!\\)[%&#_]", escaped(mark)), mark
    assert len(MARKS) == 30


def test_a_latex_table_has_as_many_columns_as_it_says() -> None:
    text = latex(["", "ROUGE-L"], [["[SRD]", "17.70"], ["plain_KD", "21.31"]], caption="Study 100 %.")
    assert r"\begin{tabular}{lr}" in text
    assert r"\caption{Study 100 \%.}" in text
    assert [line for line in text.splitlines() if line.endswith(r"\\")] == [
        r" & ROUGE-L \\", r"{}[SRD] & 17.70 \\", r"plain\_KD & 21.31 \\",
    ]  # fmt: skip
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_texts_are_cut_to_what_a_page_can_hold_and_it_says_so() -> None:
    rows = [["0" * 16, "long " * 400, "short", i] for i in range(100)]
    whole = fitted(Samples({}, rows, 100), budget=1_000_000)
    assert (whole.rows, whole.cut_at, whole.total) == (rows, None, 100)
    cut = fitted(Samples({}, rows, 100), budget=60_000)
    assert (cut.cut_at, len(cut.rows)) == (500, 100)
    assert cut.rows[0][1] == ("long " * 400)[:499] + "…"
    assert cut.rows[0][2] == "short"
    few = fitted(Samples({}, rows, 100), budget=3_000)
    assert (few.cut_at, few.total) == (60, 100)
    assert len(json.dumps(few.rows)) <= 3_000 < len(json.dumps(few.rows)) * 2
    assert [row[3] for row in few.rows][:3] == [0, 4, 8]


def test_no_text_of_a_study_is_read_as_html() -> None:
    html = page(contents([(HOSTILE, HOSTILE)] * 4, 4, [HOSTILE, "SRD"]))
    assert html.count("<script") == html.count("</script>") == 2
    assert "<img" not in html
    assert "<i>up</i>" not in html
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, flags=re.DOTALL)
    assert embedded is not None
    assert json.loads(embedded[1])["training_samples"]["rows"][0][1] == HOSTILE


def test_the_page_reaches_for_nothing(tmp_path: Path) -> None:
    html = page(contents([("p", "r")] * 4, 4, ["plain", "SRD"]))
    # A name of an XML language is no address that is fetched.
    assert re.findall(r"https?://[^\s\"']+", html) == ["http://www.w3.org/2000/svg"]
    assert "default-src 'none'" in html
