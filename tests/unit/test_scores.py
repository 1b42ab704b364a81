"""Metrics and intervals on values whose answer is known."""

import numpy as np
import pytest

from srd.metrics.matching import exact_match
from srd.metrics.rouge import rouge_l
from srd.report.scores import published_score
from srd.report.stats import bootstrap
from srd.report.study import Run


def test_rouge_l_is_rouge_score_with_stemming_best_over_references() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = [
        ("The cats were running", "a cat runs quickly"),
        ("same", "same"),
        ("", "something"),
        ("über été", "über été"),
    ]
    for prediction, reference in pairs:
        assert rouge_l(prediction, [reference]) == scorer.score(reference, prediction)["rougeL"].fmeasure
    assert (
        rouge_l("red thing", ["blue", "the red thing", "nothing"])
        == rouge_l("red thing", ["the red thing"])
        == pytest.approx(0.8)
    )


def test_exact_match_forgives_case_punctuation_and_spaces() -> None:
    assert exact_match("  The Answer, is:  42! ", ["x", "the answer is 42"]) == 1.0
    assert exact_match("41", ["42"]) == 0.0


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    chance = np.random.default_rng(3)
    covered = 0
    for trial in range(60):
        values = chance.normal(1.0, 1.0, size=(1, 80, 1))
        estimate = bootstrap(values, seed=trial)
        covered += estimate.low <= 1.0 <= estimate.high
    assert 50 <= covered <= 60


def test_more_questions_narrow_the_interval_and_more_seeds_of_the_same_do_not_fake_it() -> None:
    chance = np.random.default_rng(1)
    few, many = chance.normal(size=(1, 50, 1)), chance.normal(size=(1, 800, 1))
    width = [e.high - e.low for e in map(bootstrap, (few, many, np.repeat(few, 5, axis=2)))]
    assert width[1] < 0.5 * width[0]
    assert width[2] == pytest.approx(width[0], rel=0.1)


def test_the_seed_of_the_bootstrap_is_heeded() -> None:
    values = np.random.default_rng(1).normal(size=(2, 30, 3))
    assert bootstrap(values, 1) == bootstrap(values, 1)
    assert bootstrap(values, 1) != bootstrap(values, 2)


def test_rouge_l_equals_rouge_score_to_the_last_bit_on_every_pair() -> None:
    import random

    from rouge_score.rouge_scorer import RougeScorer

    scorer, chance = RougeScorer(["rougeL"], use_stemmer=True), random.Random(3)
    words = [
        "running",
        "1990",
        "1990s",
        "20000",
        "runs",
        "ran",
        "The",
        "the",
        "e-mail",
        "42",
        "x",
        "naïve",
        "Größe",
        "",
        "generously",
        "skies",
        "dying",
        "_",
        "İ",
        "'s",
    ]
    texts = [" ".join(chance.choices(words, k=chance.randrange(0, 40))) for _ in range(400)]
    pairs = list(zip(texts, texts[200:] + texts[:200], strict=True))
    assert [rouge_l(a, [b]) for a, b in pairs] == [scorer.score(b, a)["rougeL"].fmeasure for a, b in pairs]
    assert len(pairs) == 400


def test_the_teacher_s_published_score_is_found_whatever_the_order() -> None:
    nothing = {
        "arm": "a",
        "model": "m",
        "method": "fkl",
        "seed": 1,
        "curated": False,
        "versus": [],
        "distill": "",
        "evaluations": {},
        "planned": {},
    }
    entries = [Run(**nothing, published=name) for name in ("pocl_gpt2/fkl", "srd_gpt2/fkl + SRD", None)]
    assert {published_score("teacher", "dolly", order) for order in (entries, entries[::-1])} == {27.19}
    assert published_score("distill", "uinst", entries[:1]) == 22.01
    assert published_score("distill", "uinst", entries[1:]) is None
    assert published_score("student", "dolly", entries) is None


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    chance = np.random.default_rng(1)
    easy = chance.normal(size=(1, 200, 1)) * 5
    one, other = easy + 0.5, easy + chance.normal(size=easy.shape) * 0.1
    difference = bootstrap(one - other)
    assert difference.low > 0.4
    assert bootstrap(one).low < bootstrap(other).high
