"""Noise whose place is known: as much as asked for, and unknown to every other draw."""

from dataclasses import replace

import pytest

from srd.errors import UserError
from srd.report.noise import roc_auc
from srd.selection.ranking import difficulties, mean_ranks
from srd.stages.noise import corrupt
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


def test_a_truncated_response_is_the_beginning_of_its_own() -> None:
    samples = [replace(s, output=f"{s.output} and {s.output} more of it", id=s.id) for s in SAMPLES]
    noisy, spoilt = corrupt(samples, 0.25, 10, "truncated")
    before, after = {s.id: s for s in samples}, {s.id: s for s in noisy}
    assert len(spoilt) == 500
    for row in spoilt:
        assert row.donor is None
        full, cut = str(before[row.was].output).split(), str(after[row.id].output).split()
        assert cut == full[: len(cut)]
        assert 1 <= len(cut) <= len(full) // 2
    assert corrupt(samples, 0.25, 10, "truncated") == (noisy, spoilt)


def test_a_garbled_response_has_the_characters_of_its_own_word_for_word() -> None:
    noisy, spoilt = corrupt(SAMPLES, 0.25, 10, "garbled")
    before, after = {s.id: s for s in SAMPLES}, {s.id: s for s in noisy}
    assert len(spoilt) == 500
    for row in spoilt:
        words, mixed = str(before[row.was].output).split(" "), str(after[row.id].output).split(" ")
        assert mixed != words
        assert [sorted(word) for word in mixed] == [sorted(word) for word in words]
        assert row.id == sample_id(before[row.was].instruction, "", str(after[row.id].output))


def test_a_suite_of_references_is_spoilt_reference_by_reference() -> None:
    samples = [replace(s, output=[str(s.output), f"or {s.output}"]) for s in SAMPLES[:8]]
    noisy, spoilt = corrupt(samples, 0.5, 10, "garbled")
    assert [len(s.output) for s in noisy] == [2] * 8
    assert len(spoilt) == 4


def test_too_few_responses_that_can_be_spoilt_are_refused() -> None:
    samples = [replace(s, output="word" if i else "two words") for i, s in enumerate(SAMPLES[:8])]
    with pytest.raises(UserError, match="4 of 8 training responses, of which 1 can be truncated"):
        corrupt(samples, 0.5, 10, "truncated")


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
