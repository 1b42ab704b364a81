"""Responses by the student: whose they are, what is replayed, that a continued run draws the same."""

import json

import pytest
import torch

from srd.config import Method, StudentData
from srd.distillation.loss import cross_entropy, distillation
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.models.heads import logits_at
from srd.stages.distill import teacher_responses
from srd.store.rows import Answered
from srd.text.batches import collate
from srd.text.encoding import Encoded
from srd.training.student_data import StudentResponses
from tests.small import divergence_at, encoded, model

STEPS = 60


def writes(rows: list[Encoded], seeds: list[int]) -> list[list[int]]:
    """Answers that tell the row and the seed they were written for."""
    return [[2 + int(row.id, 16), 2 + seed % 200, 1] for row, seed in zip(rows, seeds, strict=True)]


def on_policy(**settings: object) -> StudentResponses:
    return StudentResponses(writes, StudentData(**settings), encoded(8), seed=5, total_steps=STEPS, max_tokens=99)  # pyright: ignore


def batches() -> list[list[Encoded]]:
    rows = encoded(8)
    return [rows[4 * (step % 2) : 4 * (step % 2) + 4] for step in range(STEPS)]


def played(run: StudentResponses, start: int = 0, stop: int = STEPS) -> list[list[Encoded]]:
    plan = batches()
    return [run.rows(step, plan[step : step + run.steps_ahead]) for step in range(start, stop)]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_is_the_share_of_steps_that_the_student_writes(share: float) -> None:
    steps = played(on_policy(share=share))
    written = sum(rows[0].by_student for rows in steps) / STEPS
    assert written == pytest.approx(share, abs=0.15)
    assert all(len({row.by_student for row in rows}) == 1 for rows in steps)


def test_prompts_stay_and_responses_are_the_student_s_with_their_eos() -> None:
    for rows, plan in zip(played(on_policy(share=1.0)), batches(), strict=True):
        assert [(row.id, row.prompt) for row in rows] == [(row.id, row.prompt) for row in plan]
        assert all(row.response[0] == 2 + int(row.id, 16) and row.response[-1] == 1 for row in rows)


def test_a_prompt_is_answered_anew_in_every_step_that_asks() -> None:
    assert len({tuple(rows[0].response) for rows in played(on_policy(share=1.0))[::2]}) > 20


@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_writing_ahead_changes_who_writes_in_no_step(ahead: int) -> None:
    alone, together = (played(on_policy(share=0.5, every_steps=n)) for n in (1, ahead))
    assert [[row.response for row in rows] for rows in alone] == [[row.response for row in rows] for rows in together]


def test_a_full_buffer_is_replayed_and_filled_before() -> None:
    steps = played(on_policy(share=1.0, replay_capacity=16, every_steps=1))
    seen: set[tuple[int, ...]] = set()
    replayed = []
    for rows in steps:
        responses = {tuple(row.response) for row in rows}
        replayed.append(responses <= seen)
        seen |= responses
    assert not any(replayed[:4])
    assert 0.3 < sum(replayed[4:]) / len(replayed[4:]) < 0.7


@pytest.mark.parametrize(("fresh", "early_is_more"), [("decreasing", True), ("increasing", False)])
def test_the_share_of_fresh_responses_moves_with_the_steps(fresh: str, early_is_more: bool) -> None:
    run = on_policy(share=1.0, replay_capacity=4, fresh=fresh, every_steps=1)
    counts = []
    for half in ((1, STEPS // 2), (STEPS // 2, STEPS)):
        before = run.generated_tokens
        played(run, *half)
        counts.append(run.generated_tokens - before)
    assert (counts[0] > counts[1]) == early_is_more


def test_the_share_rises_when_the_dev_loss_has_grown_and_not_otherwise() -> None:
    run = on_policy(adaptive=True, share=0.0, loss_margin=0.1, share_step=0.4)
    shares = []
    for loss in (2.0, 1.5, 2.05, 2.1, 2.15, 2.2, 3.0, 4.0):
        run.observe(loss)
        shares.append(run.share)
    assert shares == pytest.approx([0, 0, 0, 0.4, 0.4, 0.8, 1.0, 1.0])
    held = on_policy(share=0.5)
    held.observe(1.0)
    held.observe(9.0)
    assert held.share == 0.5


@pytest.mark.parametrize("stop", [1, 7, 30, 59])
def test_a_restored_writer_goes_on_as_if_nothing_had_happened(stop: int) -> None:
    settings = {"share": 0.6, "replay_capacity": 12, "fresh": "decreasing", "every_steps": 4, "adaptive": True}
    straight, stopped, resumed = (on_policy(**settings) for _ in range(3))
    expected = played(straight)
    played(stopped, 0, stop)
    resumed.restore(json.loads(json.dumps(stopped.state())))
    assert played(resumed, stop) == expected[stop:]
    assert resumed.state() == straight.state()


def test_there_is_no_cross_entropy_on_what_the_student_wrote() -> None:
    rows = encoded(6)
    mixed = [Encoded(row.id, row.prompt, row.response, False, by_student=i % 2 == 0) for i, row in enumerate(rows)]
    teacher, student, batch = model(seed=1), model(seed=2), collate(mixed, 0)
    sums = distillation(OnlineTeacher(teacher, 300), Method(), 300)(student, batch, PhaseLoss(2.0, 0.3))
    p, q = logits_at(teacher, batch, 300), logits_at(student, batch, 300)
    of_reference = torch.tensor([not row.by_student for row in mixed for _ in row.response])
    ce = cross_entropy(q, batch.labels)[of_reference].sum()
    kd = divergence_at(p, q, "forward_kl", 2.0, 2).sum()
    torch.testing.assert_close(sums.loss, 0.3 * ce + 0.7 * kd)
    assert 0 < int(of_reference.sum()) < len(of_reference)


def test_the_teacher_s_answers_replace_every_reference() -> None:
    rows = {row.id: row for row in encoded(5)}
    answers = [Answered(id, "" if i == 2 else "said", [50 + i, 1], False) for i, id in enumerate(rows)]
    taught = teacher_responses(rows, answers, max_tokens=6)
    assert len(taught) == 4, "an empty answer is left out"
    assert all(row.response == [50 + list(rows).index(id), 1][: 6 - len(row.prompt)] for id, row in taught.items())
    assert all(not row.by_student for row in taught.values())
    with pytest.raises(AssertionError, match="answers every training prompt"):
        teacher_responses(rows, answers[1:], max_tokens=6)
