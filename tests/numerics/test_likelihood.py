"""Perplexity and calibration against sums made by hand in double, and intervals whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from srd.config import Engine
from srd.distillation.reference import reference_likelihood
from srd.metrics.calibration import BINS, Reading, binned, readings, summary
from srd.report.likelihood import Readings, likelihood_score, perplexity_difference
from srd.runtime import processes
from srd.store.rows import Likelihood
from srd.text.encoding import Encoded
from tests.small import encoded, model, tokenizer

ROWS = 8


def net() -> PreTrainedModel:
    """A model sure enough of some tokens that its positions fall into several bins."""
    made = model()
    with torch.no_grad():
        made.model.norm.weight *= 4
    return made


def by_hand(rows: list[Encoded]) -> dict[str, float]:
    """Every row by itself, without padding, in double; bins by going through them one by one."""
    exact = net().double()
    nll, sure, right = [], [], []
    for row in rows:
        logits: Tensor = exact(torch.tensor([row.prompt + row.response])).logits[0, :, : len(tokenizer())]
        probabilities = torch.softmax(logits[len(row.prompt) - 1 : -1].detach(), -1)
        for q, token in zip(probabilities, row.response, strict=True):
            nll.append(-math.log(float(q[token])))
            sure.append(float(q.max()))
            right.append(int(q.argmax()) == token)
    error = 0.0
    for m in range(BINS):
        inside = [i for i, value in enumerate(sure) if m / BINS < value <= (m + 1) / BINS]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            error += len(inside) / len(sure) * abs(accuracy - sum(sure[i] for i in inside) / len(inside))
    share = sum(right) / len(right)
    return {"positions": len(nll), "perplexity": math.exp(sum(nll) / len(nll)), "ece": error, "accuracy": share}


def rows_with_hits() -> list[Encoded]:
    """Rows whose first response token is the model's own, so that some positions are right."""
    rows, sure = [], net()
    for row in encoded(ROWS):
        likeliest = int(sure(torch.tensor([row.prompt])).logits[0, -1, : len(tokenizer())].argmax())
        rows.append(Encoded(row.id, row.prompt, [likeliest, *row.response], False))
    return rows


@pytest.mark.parametrize("engine", [Engine(), Engine(micro_batch_tokens=20, loss_positions=3)])
def test_a_checkpoint_s_scores_are_those_made_by_hand(engine: Engine) -> None:
    rows = rows_with_hits()
    found = reference_likelihood(net(), rows, tokenizer(), engine)
    expected = by_hand(rows)
    assert [row.id for row in found] == [row.id for row in rows]
    assert summary(found) == pytest.approx(expected, rel=1e-5)
    assert expected["positions"] == sum(len(row.response) for row in rows) == 38
    assert 0.1 < expected["accuracy"] < 1
    assert expected["ece"] > 0.05
    used = readings(found).counts.sum(1) > 0
    assert used.sum() > 2, "several bins, or their weights say nothing"


def read_by_a_rank() -> list[Likelihood]:
    torch.set_num_threads(1)
    return reference_likelihood(net(), rows_with_hits()[:7], tokenizer(), Engine(device="cpu", micro_batch_tokens=20))


@pytest.mark.slow
def test_two_processes_read_as_one() -> None:
    one, two = read_by_a_rank(), processes.launch(2, read_by_a_rank)
    assert [row.id for row in two] == [row.id for row in one]
    assert [row.nll for row in two] == pytest.approx([row.nll for row in one], rel=1e-5)
    assert summary(two) == pytest.approx(summary(one), rel=1e-5)
    assert len(one) == 7


def test_bins_are_closed_above_and_the_first_one_takes_zero() -> None:
    borders = np.arange(BINS + 1) / BINS
    counts, confidence, hits = binned(borders, np.ones(BINS + 1))
    assert counts.tolist() == [2] + [1] * (BINS - 1)
    assert hits.tolist() == counts.tolist()
    assert confidence == pytest.approx(borders[1:])
    above = np.nextafter(borders[1:-1], 2)
    assert binned(above, np.zeros(len(above)))[0].tolist() == [0] + [1] * (BINS - 1)
    assert len(above) == 14


def test_a_model_as_right_as_it_is_sure_has_no_error_and_one_that_is_never_right_has_all() -> None:
    right = binned(np.full(10, 0.7), np.arange(10) < 7)
    assert Reading(np.zeros(()), *right).ece() == pytest.approx(0, abs=1e-12)
    wrong = binned(np.array([1.0, 1.0, 0.5, 0.5]), np.zeros(4))
    assert Reading(np.zeros(()), *wrong).ece() == pytest.approx(0.75)
    # Over and under by as much, in two bins: they do not make up for each other.
    mixed = binned(np.array([0.2, 0.2, 0.8, 0.8]), np.array([1.0, 0.0, 1.0, 0.0]))
    assert Reading(np.zeros(()), *mixed).ece() == pytest.approx(0.3)


def made_up(seed: int, rows: int, nll: float) -> list[Likelihood]:
    """Rows of 1 to 30 positions, of so many nats each, more or less."""
    chance, found = np.random.default_rng(seed), []
    for i in range(rows):
        positions = int(chance.integers(1, 31))
        bins = binned(chance.random(positions), chance.random(positions) < 0.5)
        counts, confidence, hits = (each.tolist() for each in bins)
        found.append(
            Likelihood(f"{i:04}", nll * positions * chance.uniform(0.5, 1.5), positions, counts, confidence, hits)
        )
    return found


def read(*runs: list[Likelihood]) -> Readings:
    return Readings([row.id for row in runs[0]], np.stack([readings(run).stacked() for run in runs], axis=1))


def test_perplexity_is_of_all_positions_and_not_a_mean_over_rows() -> None:
    rows = [made_up(0, 1, 1.0)[0], made_up(1, 1, 3.0)[0]]
    score = likelihood_score(read(rows))
    pooled = math.exp(sum(row.nll for row in rows) / sum(row.positions for row in rows))
    assert score.perplexity.mean == pytest.approx(pooled)
    assert summary(rows)["perplexity"] == pytest.approx(pooled)
    assert rows[0].positions != rows[1].positions
    assert (score.num_runs, score.num_ids) == (1, 2)


def test_several_training_runs_are_scored_one_by_one() -> None:
    runs = made_up(0, 40, 1.0), made_up(1, 40, 2.0)
    score, each = likelihood_score(read(*runs)), [summary(run) for run in runs]
    assert score.perplexity.mean == pytest.approx(np.mean([one["perplexity"] for one in each]))
    assert score.ece.mean == pytest.approx(100 * np.mean([one["ece"] for one in each]))
    assert score.accuracy == pytest.approx(100 * np.mean([one["accuracy"] for one in each]))


def test_a_checkpoint_does_not_differ_from_itself_and_pairs_are_tighter_than_intervals() -> None:
    rows = made_up(0, 200, 1.0)
    better = [Likelihood(row.id, 0.9 * row.nll, row.positions, row.counts, row.confidence, row.hits) for row in rows]
    same = perplexity_difference(read(rows), read(rows))
    assert same is not None
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    paired, alone = perplexity_difference(read(better), read(rows)), likelihood_score(read(rows)).perplexity
    assert paired is not None
    assert paired.high < 0
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    assert perplexity_difference(read(rows), read(rows[:100])) is None
