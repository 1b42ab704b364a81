"""The report's comparisons: corrected for their number, and shown with what could have been seen."""

import json
import math

import numpy as np
import pytest

from srd.report.costs import Cost
from srd.report.scores import Result, correct
from srd.report.stats import Difference, difference, mean_interval
from srd.report.tables import difference_notes, difference_table


def made(p: float, runs: int = 3) -> Difference:
    return Difference(
        1.0, 0.5, 1.5, runs >= 3, p=p, p_holm=p, num_runs=runs, spread=0.2, detectable=0.8 if runs >= 3 else None
    )


def row(arm: str, metric: str = "rouge_l", **found: dict[str, Difference]) -> Result:
    cost = Cost(sample_passes=10, training_tokens=100, seconds=2, seconds_by_stage={"distill": 2.0}, flops=1e9)
    score = mean_interval(np.ones((3, 1, 1)))
    return Result(arm, "distill", "s", 3, 1, 1, metric, score, {}, 1.0, None, None, cost, ["distill/x"], **found)


def test_comparisons_of_one_metric_are_corrected_together_and_others_apart() -> None:
    rows = [
        row("plain"),
        row("a", differences={"plain": made(0.01), "b": made(0.03)}, perplexity_differences={"plain": made(0.04)}),
        row("b", differences={"plain": made(0.02)}),
        row("text", "perplexity", differences={"plain": made(0.03)}),
    ]
    correct(rows)
    assert [rows[1].differences[other].p_holm for other in ("plain", "b")] == pytest.approx([0.03, 0.04])
    assert rows[2].differences["plain"].p_holm == pytest.approx(0.04)
    assert rows[1].perplexity_differences["plain"].p_holm == pytest.approx(0.06)
    assert rows[3].differences["plain"].p_holm == pytest.approx(0.06)
    assert rows[1].differences["plain"].p == 0.01, "the p-value itself stays"
    assert difference_notes(rows)[0].endswith("3 of ROUGE-L and 2 of perplexity.")


def test_the_table_shows_p_after_holm_and_what_was_detectable() -> None:
    rows = [row("plain"), row("a", differences={"plain": made(0.0001)}), row("b", differences={"plain": made(0.03, 1)})]
    header, lines = difference_table(rows)
    shown = [dict(zip(header, line, strict=True)) for line in lines]
    assert [(each["p (Holm)"], each["detectable"], each["runs"]) for each in shown] == [
        ("< 0.001", "0.80", "3"),
        ("0.030", "", "1"),
    ]
    assert [each["95 % interval"] for each in shown] == ["+0.50 … +1.50", "+0.50 … +1.50, ids only"]


def test_the_notes_say_what_the_columns_are_and_what_is_not_covered() -> None:
    corrected, power, *alone = difference_notes([row("plain"), row("a", differences={"plain": made(0.01)})])
    assert "Holm" in corrected
    assert "With 3 training seeds a difference under" in power
    assert "80 %" in power
    assert not alone
    fewer = difference_notes([row("plain"), row("a", differences={"plain": made(0.01, 2)})])
    assert len(fewer) == 2
    assert "fewer than three training seeds" in fewer[1]
    assert difference_notes([row("plain")]) == []


def test_json_has_every_number_and_null_for_what_one_id_cannot_say() -> None:
    found = row("a", differences={"plain": difference(np.ones((3, 1, 1)))}).as_dict()
    text = json.loads(json.dumps(found, allow_nan=False))
    assert text["score"] == {"mean": 1, "low": None, "high": None, "covers_seeds": True}
    assert text["differences"]["plain"].keys() == set(Difference.__dataclass_fields__)
    assert text["differences"]["plain"]["p"] is None
    assert math.isnan(difference(np.ones((3, 1, 1))).p)
