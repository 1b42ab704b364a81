"""Metrics on values whose answer is known."""

import pytest

from srd.errors import UserError
from srd.metrics import METRICS, blind_share
from srd.metrics.matching import exact_match
from srd.metrics.rouge import rouge_l
from srd.report.published import published_table
from srd.report.scores import published_score
from srd.report.study import Run
from srd.stages.rank import _blind
from srd.store.rows import Sample


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


MATCHES = {
    ("3.14", "314"): 0, ("3.14", "3.14."): 1, ("3.14", "3,14"): 0, ("-3", "3"): 0, ("+3", "3"): 0, ("\u22123", "-3"): 1,
    ("(-3)", "-3"): 1, (".5", "5"): 0, ("1,000", "1000"): 0, ("$5", "5"): 0, ("5%", "5"): 0, ("5 %", "5"): 0,
    ("#1", "1"): 0, ("1/2", "12"): 0, ("2^3", "23"): 0, ("x = 3", "x 3"): 0, ("a + b", "a - b"): 0, ("a+b", "ab"): 0,
    ("!!!", "?"): 0, ("!!!", "!!!"): 1, ("!!!", ""): 0, ("", ""): 1, ("+", "-"): 0, ("=", "="): 1, ("()", "[]"): 0,
    ("👍", "👎"): 0, ("👍", "👍"): 1, ("Paris.", "paris"): 1, ("'Paris'", "“Paris”"): 1, ("**Paris**", "Paris"): 1,
    ("Paris , France !", "paris france"): 1, ("the Paris", "Paris"): 0, ("e-mail", "email"): 0, ("don't", "dont"): 0,
    ("¿Qué?", "qué"): 1, ("Que", "Qué"): 0, ("e\u0301te\u0301", "été"): 1, ("Москва.", "москва"): 1,
    ("北京。", "北京"): 1,
    ("北京", "东京"): 0, ("x²", "x2"): 0, ("a\n b", "a b"): 1, ("C", "C++"): 0, ("C#", "C"): 0, ("10:30", "1030"): 0,
    ("2024-01-02", "20240102"): 0, ("v1.2.3", "v123"): 0, ("f(x)", "f x"): 0, ("yes!", "Yes"): 1, ("3.", "3"): 1,
}  # fmt: skip
"""Pairs of texts, and whether a person takes them for one answer."""


@pytest.mark.parametrize("pair", MATCHES)
def test_exact_match_keeps_numbers_and_symbols(pair: tuple[str, str]) -> None:
    assert len(MATCHES) == 50
    one, other = pair
    assert exact_match(one, [other]) == exact_match(other, [one]) == MATCHES[pair]


@pytest.mark.parametrize(
    ("references", "sees"),
    [
        (["The river"], True), (["Река"], False), (["Река", "river"], True), (["2023年に東京で開かれた"], False),
        (["naïve café"], True), (["!!!"], False), ([""], False), (["42"], True), (["Ελληνικά στο USB"], False),
        (["नमस्ते दुनिया"], False), (["مرحبا"], False), (["Größe und Weite"], True),
    ],
)  # fmt: skip
def test_rouge_l_says_where_it_sees_nothing(references: list[str], sees: bool) -> None:
    assert METRICS["rouge_l"].sees(references) == sees
    assert METRICS["exact_match"].sees(references)


def test_the_share_on_which_a_metric_is_blind_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    samples = [Sample(str(i), "x", "", text, "test") for i, text in enumerate(["Река", "river", "лес", "wood"])]
    assert blind_share("rouge_l", samples) == 0.5
    assert "ROUGE-L sees nothing in 2 of 4 references (50 %)" in capsys.readouterr().err
    assert blind_share("exact_match", samples) == 0
    assert not capsys.readouterr().err


def test_a_blind_signal_moves_no_sample_and_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    shares = {"rouge_l": "rouge_l sees nothing in 90 % of the references"}
    assert _blind(["rouge_l", "nll"], shares) == ["rouge_l"]
    assert "rouge_l sees nothing in 90 % of the references; nll alone orders the samples" in capsys.readouterr().err
    assert _blind(["rouge_l", "nll"], {}) == _blind(["length"], shares) == []
    with pytest.raises(UserError, match="such as nll"):
        _blind(["rouge_l"], shares)


def test_published_figures_of_other_things_than_our_suites_stand_in_a_table_of_their_own() -> None:
    header, lines = published_table({"ours": "sekd/SE-KD", "plain": "pocl_gpt2/fkl"}, {"dolly", "heldout"}) or ([], [])
    assert header[:5] == ["", "accuracy", "ifeval", "lambada perplexity", "ece"]
    assert lines[0][:5] == ["ours", "64.8", "21.4", "6.9", "27.6"]
    assert lines[2][:5] == ["teacher (sekd)", "73.8", "28.9", "4.6", "23.5"]
    assert "dolly" not in header
    assert published_table({"plain": "srd_gpt2/fkl"}, {"dolly"}) is None
