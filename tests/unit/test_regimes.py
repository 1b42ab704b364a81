"""Differences are placed in the regime that they were found in."""

from dataclasses import replace
from itertools import product

from srd.report.regimes import Data, draw_regimes, places
from tests.pages import comparison

REGIMES = list(product([5, 20], [500, 1000], [0.0, 0.25]))
"""Epochs, pairs, noise."""


def regime(epochs: int, pairs: int, noise: float) -> str:
    return f"{epochs} epochs, {pairs} pairs, noise {noise}"


def data() -> dict[str, Data]:
    """Plain arms make every epoch, SRD's 60 % of the passes."""
    shares = {"plain": 1.0, "random": 0.6, "SRD": 0.6}
    return {
        f"{name}, {regime(*each)}": Data(each[1], each[2], share * each[0] * each[1])
        for each in REGIMES
        for name, share in shares.items()
    }


def test_a_difference_stands_at_its_pairs_noise_and_the_baseline_s_epochs() -> None:
    compared = [
        comparison(arm=f"SRD, {regime(*each)}", other=f"{other}, {regime(*each)}", mean=float(i))
        for i, each in enumerate(REGIMES)
        for other in ("plain", "random")
    ]
    elsewhere = [replace(each, column="perplexity") for each in compared] + [replace(compared[0], suite="vicuna")]
    found = places(compared + elsewhere, data())
    assert len(found) == 16
    assert [(place.epochs, place.pairs, place.noise) for place in found[::2]] == REGIMES
    assert {(place.name, place.other) for place in found} == {("SRD", "plain"), ("SRD", "random")}
    assert [place.found.mean for place in found[::2]] == list(range(8))
    figure = draw_regimes(found)
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"against {other}, {noise} % noise" for other in ("plain", "random") for noise in (0, 25)]
    drawn = [sum(len(container[0].get_xdata()) for container in axes.containers) for axes in figure.axes]
    assert drawn == [4, 4, 4, 4], "two numbers of epochs, two of pairs"


def test_arms_of_one_regime_or_of_none_have_no_map() -> None:
    one = comparison(arm=f"SRD, {regime(*REGIMES[0])}", other=f"plain, {regime(*REGIMES[0])}")
    across = comparison(arm=f"SRD, {regime(*REGIMES[0])}", other=f"plain, {regime(*REGIMES[1])}")
    assert places([one, across, comparison()], data() | {"SRD": Data(9, 0.0, 9.0)}) == []
    assert draw_regimes([]) is None
