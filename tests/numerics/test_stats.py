"""Intervals, tests and their power: against tables and sums made by hand, and in simulated studies of known truth."""

import math
from itertools import product

import numpy as np
import pytest

from srd.report.stats import Difference, difference, difference_of, estimate, holm, interval_of, mean_interval

IDS = 200
VARIANCES = {
    "seeds alone": (1.0, 0.0, 0.3), "mostly seeds": (1.0, 4.0, 2.0), "mostly ids": (0.02, 3.0, 1.0),
    "alike": (0.1, 1.0, 1.0), "ids a tenth": (0.3, 1.0, 1.0), "no effect of either": (0.0, 0.0, 1.0),
}  # fmt: skip
"""Standard deviations of what a training seed, an id, and both together add to a value."""
STUDIES = [*product((3, 5, 10), VARIANCES)]


def studies(runs: int, name: str, number: int, seed: int = 0, ids: int = IDS) -> np.ndarray:
    """Values [number, runs, ids] of studies whose true mean is 0."""
    of_seeds, of_ids, rest = VARIANCES[name]
    chance = np.random.default_rng([seed, runs, list(VARIANCES).index(name)])
    values = rest * chance.standard_normal((number, runs, ids), dtype=np.float32)
    values += of_seeds * chance.standard_normal((number, runs, 1), dtype=np.float32)
    values += of_ids * chance.standard_normal((number, 1, ids), dtype=np.float32)
    return values.astype(float)


@pytest.mark.parametrize(("runs", "name"), STUDIES)
def test_a_95_percent_interval_covers_the_truth_and_the_test_errs_at_5_percent(runs: int, name: str) -> None:
    assert len(STUDIES) == 18
    found = estimate(studies(runs, name, 4000))
    low, high = found.interval()
    covered = (low <= 0) & (high >= 0)
    assert 0.93 <= covered.mean() <= 0.97
    assert (covered == (found.p() >= 0.05)).all(), "interval and test say the same"


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_p_is_uniform_where_nothing_differs(runs: int) -> None:
    p = estimate(studies(runs, "seeds alone", 8000)).p()
    assert len(p) == 8000
    for level in (0.01, 0.05, 0.2, 0.5, 0.9):
        assert (p < level).mean() == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 8000))


@pytest.mark.parametrize(("runs", "name"), STUDIES)
def test_what_is_detectable_is_detected_in_80_percent_of_studies(runs: int, name: str) -> None:
    """From values whose mean squares are those that the true variances lead one to expect."""
    of_seeds, of_ids, rest = (deviation**2 for deviation in VARIANCES[name])
    run, id = of_exact_squares(runs, IDS * of_seeds + rest, IDS), of_exact_squares(IDS, runs * of_ids + rest, runs)
    both = np.outer(of_exact_squares(runs, 1, 1), of_exact_squares(IDS, 1, 1)) * math.sqrt(rest)
    detectable = difference((run[:, None] + id + both)[:, :, None]).detectable
    assert detectable is not None
    p = estimate(studies(runs, name, 4000, seed=1) + detectable).p()
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def of_exact_squares(number: int, mean_square: float, times: int) -> np.ndarray:
    """Effects [number] whose mean square, each met `times` times, is just that."""
    effects = np.linspace(-1, 1, number)
    return effects * math.sqrt(mean_square / times / effects.var(ddof=1))


def test_the_error_of_three_runs_and_two_ids_is_the_one_worked_by_hand() -> None:
    """Means of runs 2 4 6, of ids 3 5. Mean squares: runs 2·4 = 8, ids 3·2 = 6, rest (1 + 1 + 1 + 1)/2 = 2."""
    found = estimate(np.array([[1.0, 3], [2, 6], [6, 6]]))
    assert found.mean == 4
    assert found.error == pytest.approx(math.sqrt((8 + 6 - 2) / 6))
    assert 1 / found.freedom == pytest.approx(8 / 12 / 2 + (6**2 + 2**2 / 2) / 1 / 12**2)


def test_three_seeds_alone_are_student_s_t_of_two_degrees_of_freedom() -> None:
    """Seeds differ by 1 2 6, ids and rest by nothing: mean 3, standard deviation √7, t = 4.3027 (tables)."""
    found = difference(np.tile(np.array([1.0, 2, 6])[:, None, None], (1, 4, 2)))
    error = math.sqrt(7 / 3)
    assert (found.mean, found.num_runs, found.covers_seeds) == (3, 3, True)
    assert (found.low, found.high) == pytest.approx((3 - 4.302653 * error, 3 + 4.302653 * error), rel=1e-6)
    assert found.spread == pytest.approx(math.sqrt(7))
    # Of t with two degrees of freedom the tail has a closed form: 1 - t/√(2 + t²).
    t = 3 / error
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert found.detectable == pytest.approx(5.6535 * error, rel=1e-4)  # noncentral t, see the simulated power


@pytest.mark.parametrize("runs", [1, 2])
def test_of_fewer_than_three_runs_the_interval_is_over_ids_and_says_so(runs: int) -> None:
    """Ids 1 to 10: mean 5.5, variance 55/6, t of nine degrees of freedom 2.2622 (tables). Seeds widen nothing."""
    ids = np.arange(1.0, 11)
    values = np.stack([ids - 1, ids + 1])[:runs] + (1 if runs == 1 else 0)
    found, error = difference(values[:, :, None]), math.sqrt(55 / 6 / 10)
    assert (found.low, found.high) == pytest.approx((5.5 - 2.262157 * error, 5.5 + 2.262157 * error), rel=1e-6)
    assert not found.covers_seeds
    assert found.detectable is None
    assert found.spread == (None if runs == 1 else pytest.approx(math.sqrt(2)))
    assert mean_interval(values[:, :, None]).covers_seeds is False


def test_more_ids_narrow_the_interval_and_more_answers_of_the_same_do_not_fake_it() -> None:
    chance = np.random.default_rng(1)
    few, many = chance.normal(size=(1, 50, 1)), chance.normal(size=(1, 800, 1))
    width = [e.high - e.low for e in map(mean_interval, (few, many, np.repeat(few, 5, axis=2)))]
    assert width[1] < 0.5 * width[0]
    assert width[2] == pytest.approx(width[0])


def test_more_ids_do_not_hide_the_spread_between_seeds() -> None:
    few, many = (studies(3, "seeds alone", 50, ids=ids) for ids in (50, 3200))
    narrow, wide = (np.mean(np.subtract(*estimate(values).interval()[::-1])) for values in (many, few))
    assert narrow == pytest.approx(wide, rel=0.3)


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    chance = np.random.default_rng(1)
    easy = chance.normal(size=(1, 200, 1)) * 5
    one, other = easy + 0.5, easy + chance.normal(size=easy.shape) * 0.1
    assert difference(one - other).low > 0.4
    assert mean_interval(one).low < mean_interval(other).high


def test_what_is_the_same_does_not_differ_and_one_id_says_nothing() -> None:
    same = difference(np.zeros((3, 5, 2)))
    assert (same.low, same.high, same.p, same.spread, same.detectable) == (0, 0, 1, 0, 0)
    always = difference(np.ones((3, 5, 2)))
    assert (always.low, always.high, always.p) == (1, 1, 0)
    one = difference(np.ones((3, 1, 2)))
    assert one.mean == 1
    assert all(math.isnan(each) for each in (one.low, one.high, one.p))


def test_a_scale_changes_all_that_has_the_value_s_unit_and_no_probability() -> None:
    found = difference(studies(3, "alike", 1)[0][:, :, None])
    scaled = found.times(100)
    assert isinstance(scaled, Difference)
    with_unit = ("mean", "low", "high", "spread", "detectable")
    assert [getattr(scaled, name) / getattr(found, name) for name in with_unit] == pytest.approx([100] * 5)
    assert (scaled.p, scaled.p_holm, scaled.num_runs) == (found.p, found.p_holm, 3)


def test_holm_s_correction_is_the_one_worked_by_hand() -> None:
    """0.01·4, 0.02·3, then 0.03·2 = 0.06 as well, and 0.04·1 not under what came before."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.001, 0.8]) == pytest.approx([1, 0.003, 1])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    unknown, known = holm([float("nan"), 0.01])
    assert math.isnan(unknown)
    assert known == 0.02


def test_holm_s_correction_lets_one_study_in_twenty_err_however_many_comparisons_it_makes() -> None:
    p = np.random.default_rng(0).random((4000, 10))
    assert np.mean([min(holm(each)) < 0.05 for each in p.tolist()]) == pytest.approx(0.05, abs=0.015)


def ratio(sums: np.ndarray) -> np.ndarray:
    return sums[0] / sums[1]


@pytest.mark.parametrize("runs", [1, 3, 10])
def test_the_interval_of_a_ratio_and_of_its_difference_cover_the_truth(runs: int) -> None:
    """Rows of 1 to 19 tokens of 2 nats or so: their ratio is 2; both arms share the rows, not the seeds."""
    covered, trials = [], 1500
    for trial in range(trials):
        chance = np.random.default_rng([trial, runs])
        sizes = chance.integers(1, 20, size=150).astype(float)
        rows = chance.normal(2.0, 0.5, size=150)
        seeds = chance.normal(0, 0.1, size=(2, runs, 1)) if runs > 1 else np.zeros((2, 1, 1))
        nats = sizes * (rows + seeds + chance.normal(0, 0.2, size=(2, runs, 150)))
        ours, theirs = (np.stack([each, np.broadcast_to(sizes, each.shape)]) for each in nats)
        alone, both = interval_of(ours, ratio), difference_of(ours, theirs, ratio)
        covered.append((alone.low <= 2 <= alone.high, both.low <= 0 <= both.high))
    assert len(covered) == trials
    for share in np.mean(covered, axis=0):
        assert 0.93 <= share <= 0.97


def test_a_mean_as_a_ratio_to_the_number_of_ids_has_the_interval_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20))
    found, known = interval_of(np.stack([values, np.ones((3, 20))]), ratio), mean_interval(values[:, :, None])
    assert (found.mean, found.low, found.high) == pytest.approx((known.mean, known.low, known.high))
    assert found.covers_seeds
