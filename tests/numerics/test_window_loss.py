"""Windows of text in the loss: every token is learned but a document's first behind another one, whatever stands beside
the window; on disk and live, the teacher says the same of them."""

import json
from pathlib import Path

import pytest
import torch

from srd.config import Engine, Method, StudentData
from srd.distillation.cached import CachedTeacher
from srd.distillation.loss import distillation, reference_loss
from srd.distillation.records import record_of
from srd.distillation.reference import reference_nll
from srd.distillation.schedules import PhaseLoss
from srd.distillation.shards import token_hash
from srd.distillation.teacher import OnlineTeacher
from srd.errors import UserError
from srd.stages.cache import build
from srd.store.rows import Sample
from srd.text.batches import collate
from srd.text.encoding import Encoded, encode, window
from srd.training.student_data import StudentResponses
from tests.small import model, tokenizer, training

DOCUMENTS = [[5, 6, 7, 1], [8, 9, 1], [10, 11, 12, 13, 14, 1], [15, 1], [16, 17, 18, 1]]
BORDERS = {0: [4, 7], 1: [4, 6]}
"""Of the first two windows of nine tokens."""
STREAM = [id for document in DOCUMENTS for id in document]


def windows() -> list[Encoded]:
    ids = [STREAM[:9], STREAM[9:18]]
    return [window(f"{number:016x}", ids[number], BORDERS[number]) for number in BORDERS]


def rows() -> list[Encoded]:
    """Windows, one of them cut short so that the other's batch has padding, and a sample with a prompt."""
    short = window("2" * 16, STREAM[2:8], [2, 5])
    return [*windows(), short, Encoded("3" * 16, [20, 21, 22], [23, 1], False)]


def learned(row: Encoded) -> list[int]:
    """Where a row's tokens are learned: of a window all but the first and those behind an EOS."""
    ids = row.prompt + row.response
    if len(row.prompt) > 1:
        return list(range(len(row.prompt), len(ids)))
    return [place for place in range(1, len(ids)) if ids[place - 1] != 1]


def test_a_sample_with_ids_is_read_as_they_are() -> None:
    from srd.config import Text

    sample = Sample("a" * 16, "", "", "shown", "train", ids=STREAM[:9], borders=[4, 7])
    row = encode(sample, tokenizer(), Text("plain", 4, 6))
    assert (row.prompt, row.response, row.unlearned) == (STREAM[:1], STREAM[1:9], (3, 6))
    assert (row.num_tokens, row.num_supervised) == (9, 6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_labels_are_all_tokens_but_those_behind_an_eos(side: str) -> None:
    batch = collate(rows(), 0, side)
    expected = [(row.prompt + row.response)[place] for row in rows() for place in learned(row)]
    assert batch.labels.tolist() == expected
    assert batch.referenced.tolist() == [True] * len(expected)
    assert [int(line.sum()) for line in batch.supervised] == [row.num_supervised for row in rows()] == [6, 6, 3, 2]
    before = batch.input_ids.flatten()[batch.positions]
    assert 1 not in before.tolist(), "no token is predicted from an EOS"


def test_loss_and_gradient_are_those_of_a_hand_computation() -> None:
    net, other = (model(seed=3).double().requires_grad_(True) for _ in range(2))
    reference_loss(300, Engine(loss_positions=5))(net, collate(rows(), 0), PhaseLoss()).loss.backward()
    total = torch.zeros((), dtype=torch.float64)
    for row in rows():
        ids = torch.tensor([row.prompt + row.response])
        logp = torch.log_softmax(other(input_ids=ids, use_cache=False).logits[0], -1)
        for place in learned(row):
            total = total - logp[place - 1, ids[0, place]]
    total.backward()
    found = reference_loss(300)(net, collate(rows(), 0), PhaseLoss()).loss
    torch.testing.assert_close(found, total, rtol=1e-10, atol=0)
    compared = 0
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-10)
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("tokens", [9, 18, 1000])
def test_micro_batches_change_neither_loss_nor_gradient(tmp_path: Path, tokens: int) -> None:
    def gradient(most: int, name: str) -> tuple[float, torch.Tensor]:
        run = training(tmp_path / name, model(seed=2).double().requires_grad_(True), engine=Engine(
            device="cpu", micro_batch_tokens=most))  # fmt: skip
        sums = run.updater.accumulate(rows(), reference_loss(300), PhaseLoss(), 1.0)
        flat = [p.grad.reshape(-1) for p in run.state.parameters.values() if p.grad is not None]
        return float(sums.means["loss"]), torch.cat(flat)

    (loss, ours), (whole, theirs) = gradient(tokens, "cut"), gradient(36, "whole")
    assert loss == pytest.approx(whole, rel=1e-12)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_likelihood_of_a_window_is_the_mean_over_what_is_learned() -> None:
    net = model(seed=4)
    found = reference_nll(net, rows(), tokenizer(), Engine(device="cpu", micro_batch_tokens=20))
    for row, nll in zip(rows(), found, strict=True):
        ids = torch.tensor([row.prompt + row.response])
        logp = torch.log_softmax(net(input_ids=ids, use_cache=False).logits[0, :, :300].double(), -1)
        right = [-float(logp[place - 1, ids[0, place]].detach()) for place in learned(row)]
        assert nll == pytest.approx(sum(right) / len(right), rel=1e-5)
    assert len(found) == 4


def test_the_cached_teacher_is_the_live_one_on_windows(tmp_path: Path) -> None:
    teacher = model(seed=1)
    record = record_of({"width": 16, "dtype": "float32"}, 300)
    build(teacher, rows(), tmp_path, record, Engine(device="cpu", micro_batch_tokens=20), 0, 300)
    cache = CachedTeacher(tmp_path, 300, torch.device("cpu"))
    losses = []
    for signal in (OnlineTeacher(teacher, 300), cache):
        student = model(seed=2).requires_grad_(True)
        sums = distillation(signal, Method(), 300)(student, collate(rows()[::-1], 0), PhaseLoss(1.5, 0.3))
        losses.append(float(sums.loss.detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    first = windows()[0]
    moved = window(first.id, first.prompt + first.response, [4])
    assert token_hash(moved) != token_hash(first)
    with pytest.raises(UserError, match="has other tokens there"):
        cache.states(collate([moved], 0))


def test_the_student_continues_the_beginning_of_a_window() -> None:
    asked: list[Encoded] = []

    def write(prompts: list[Encoded], seeds: list[int]) -> list[list[int]]:
        asked.extend(prompts)
        return [[30 + number] * 9 for number in range(len(prompts))]

    settings = StudentData(share=1.0, prompt_tokens=4, every_steps=2)
    made = [StudentResponses(write, settings, windows(), seed=5, total_steps=2, max_tokens=9) for _ in range(2)]
    first = made[0].rows(0, [windows(), windows()])
    assert [row.prompt for row in asked] == [STREAM[:4], STREAM[9:13]] * 2
    assert [(row.prompt, row.response) for row in first] == [(STREAM[:4], [30] * 5), (STREAM[9:13], [31] * 5)]
    assert all(row.by_student and row.num_supervised == 5 for row in first)
    made[1].restore(json.loads(json.dumps(made[0].state())))
    assert made[1].rows(1, [windows()]) == made[0].rows(1, [windows()])
    references = StudentResponses(write, StudentData(prompt_tokens=4), windows(), seed=5, total_steps=2, max_tokens=9)
    assert references.rows(0, [windows()]) == windows()
