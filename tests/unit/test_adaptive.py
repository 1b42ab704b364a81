"""Adaptive λ: what the rules choose of curves, mixtures and budgets whose answer is known."""

import numpy as np
import pytest

from srd.config import Curriculum, Filter
from srd.errors import UserError
from srd.pipeline import graph
from srd.selection.adaptive import RULES, Given, difficulty
from srd.selection.curricula import CURRICULA
from srd.selection.mixtures import two_components
from srd.store.artefacts import Node
from tests.composing import config


def test_every_rule_reads_what_the_filter_gives_and_the_config_knows_which_read_difficulties() -> None:
    assert set(RULES) == {"knee", "mixture", "budget"}
    for name, rule in RULES.items():
        assert rule.reads in ("signals", "passes")
        assert Filter(keep="auto", rule=name).reads_difficulties == (rule.reads == "signals")


def test_the_knee_of_two_straight_lines_is_where_they_meet_whatever_the_signals_scale_and_order() -> None:
    curve = np.concatenate([np.linspace(0, 1, 70), np.linspace(1, 9, 31)[1:]])
    shuffled = np.random.default_rng(0).permutation(curve)
    for signals in ({"nll": shuffled}, {"nll": 7 * shuffled - 3, "flat": np.ones(100), "rouge_l": shuffled}):
        assert RULES["knee"].function(Given(100, signals)).kept == 70


def test_a_curve_without_a_knee_and_signals_that_say_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="nowhere below its chord"):
        RULES["knee"].function(Given(50, {"nll": np.sqrt(np.arange(50.0))}))
    for name in ("knee", "mixture"):
        with pytest.raises(UserError, match="nll of all samples are the same"):
            RULES[name].function(Given(9, {"nll": np.ones(9)}))
        with pytest.raises(UserError, match="nll is not finite"):
            RULES[name].function(Given(3, {"nll": np.array([0, 1, np.inf])}))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_mixture_of_known_parts_is_found_and_its_likelihood_never_falls(share: float) -> None:
    chance, count = np.random.default_rng(3), 2000
    is_easy = np.arange(count) < share * count
    values = np.where(is_easy[:, None], chance.normal([0, 2], [1, 0.5], (count, 2)), chance.normal(5, 1, (count, 2)))
    fit = two_components(values)
    assert np.mean((fit.easy > 0.5) == is_easy) > 0.99
    assert abs(fit.shares[0] - share) < 0.02
    assert len(fit.log_likelihoods) > 3
    assert min(np.diff(fit.log_likelihoods)) > -1e-12
    assert (
        abs(RULES["mixture"].function(Given(count, {"a": values[:, 0], "b": values[:, 1]})).kept / count - share) < 0.01
    )


def test_a_signal_with_many_equal_values_does_not_shrink_a_component_to_nothing() -> None:
    chance = np.random.default_rng(4)
    fit = two_components(np.concatenate([np.zeros(300), chance.normal(3, 1, 200)])[:, None])
    assert np.isfinite(fit.log_likelihoods).all()
    assert min(np.diff(fit.log_likelihoods)) > -1e-12
    assert (fit.easy[:300] > 0.5).all()


@pytest.mark.parametrize("name", CURRICULA)
def test_a_budget_is_kept_and_one_more_sample_would_break_it(name: str) -> None:
    settings, epochs = Curriculum(name, 3, [0.5, 0.3, 0.2]), 4

    def passes_of(kept: int) -> int:
        return epochs * sum(map(len, CURRICULA[name]([str(i) for i in range(kept)], settings)))

    budgets = range(passes_of(20), passes_of(60), 13)
    for passes in budgets:
        kept = RULES["budget"].function(Given(100, passes=passes, passes_of=passes_of)).kept
        assert passes_of(kept) <= passes < passes_of(kept + 1)
    assert len(budgets) > 10
    assert RULES["budget"].function(Given(30, passes=10**6, passes_of=passes_of)).kept == 30
    with pytest.raises(UserError, match="the least that can be kept takes"):
        RULES["budget"].function(Given(30, passes=1, passes_of=passes_of))


def test_difficulty_weighs_all_signals_alike() -> None:
    assert difficulty({"a": np.array([0.0, 5, 10]), "b": np.array([1.0, 1, 0])}).tolist() == [0.5, 0.75, 0.5]


def test_a_rule_makes_another_selection_and_only_what_it_reads_counts() -> None:
    def node(*overrides: str) -> Node:
        return graph.filter(config("debug=smoke", "dataset=pydoc", *overrides))

    auto = "filter.keep=auto"
    budget = (auto, "filter.rule=budget", "filter.passes=40")
    made = [node(), node(auto), node(auto, "filter.rule=mixture"), node(*budget)]
    assert len({each.fingerprint for each in made}) == 4
    assert node(auto, "curriculum.phases=2") == made[1]
    assert node(*budget, "curriculum.phases=2") != made[3]
    assert set(made[3].inputs) == {"ranking"}
    assert set(made[1].inputs) == {"ranking", "reflections"}
    control = node(auto, "filter.by=random", "curriculum=none")
    assert "reflections" in control.inputs
    assert control.settings["difficulties"] == made[1].settings["difficulties"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["filter.keep=aut"], r"filter.keep=aut: expected a share in \(0, 1\], or auto"),
        (["filter.keep=auto", "filter.rule=kne"], "did you mean 'knee'"),
        (["filter.keep=auto", "filter.rule=budget"], "it needs filter.passes"),
        (["filter.keep=auto", "filter.end=hardest"], "filter.end=hardest: expected easiest"),
    ],
)
def test_what_no_rule_can_do_is_one_line(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        config(*overrides)


def test_a_share_is_a_number_however_it_is_written() -> None:
    whole, auto = config("filter.keep=1"), config("filter.keep=auto", "filter.rule=mixture")
    assert graph.filter(whole).settings["keep"] == 1.0 == whole.filter.share
    assert isinstance(whole.filter.share, float)
    assert "keep auto (mixture)" in auto.arm_name
