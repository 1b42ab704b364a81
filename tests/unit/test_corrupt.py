"""Noise whose place is known: as much as asked for, and unknown to every other draw."""

import pytest

from srd.errors import UserError
from srd.report.noise import roc_auc
from srd.selection.ranking import difficulties, mean_ranks
from srd.stages.samples import corrupt
from srd.store.rows import Sample, sample_id

SAMPLES = sorted(
    (Sample(sample_id(f"ask {i}", "", f"say {i}"), f"ask {i}", "", f"say {i}", "train") for i in range(2000)),
    key=lambda s: s.id,
)


def test_the_asked_share_has_another_s_response_and_the_rest_is_untouched() -> None:
    noisy, exchanged = corrupt(SAMPLES, 0.25, seed=10)
    before, after = {s.id: s for s in SAMPLES}, {s.id: s for s in noisy}
    assert len(exchanged) == 500
    assert len(after) == len(SAMPLES)
    for row in exchanged:
        assert after[row.id].instruction == before[row.was].instruction
        assert after[row.id].output == before[row.donor].output != before[row.was].output
        assert row.id == sample_id(after[row.id].instruction, "", after[row.id].output)
    assert len(before.keys() & after.keys()) == 1500
    assert corrupt(SAMPLES, 0.25, seed=10) == (noisy, exchanged)
    assert {row.was for row in corrupt(SAMPLES[::-1], 0.25, seed=10)[1]} == {row.was for row in exchanged}


@pytest.mark.parametrize("seed", [10, 20])
def test_a_random_order_knows_nothing_of_the_noise(seed: int) -> None:
    noisy, exchanged = corrupt(SAMPLES, 0.25, seed=10)
    drawn = difficulties(["random"], noisy, {}, seed)
    assert roc_auc(drawn["id"], mean_ranks(drawn["random"]), {row.id for row in exchanged}) == pytest.approx(
        0.5, abs=0.05
    )


@pytest.mark.parametrize("share", [0.0001, 0.9999])
def test_none_or_all_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="expected some and not all"):
        corrupt(SAMPLES, share, seed=10)
