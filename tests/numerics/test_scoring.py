"""The signals of a scoring pass are what a plain computation in float64 gives, whatever stands beside a row."""

import copy

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from srd.config import Engine
from srd.distillation.reference import reference_nll
from srd.distillation.scoring import reference_means, signal_values
from srd.models.load import Size
from srd.selection.importance import IMPORTANCE, Known
from srd.stages.costs import reading_counts
from srd.stages.score import OF_STUDENT, OF_TEACHER, _of_student, _of_teacher
from srd.text.encoding import Encoded
from tests.small import encoded, model, tokenizer

VOCABULARY = 300
TIGHT = Engine(device="cpu", micro_batch_tokens=24, loss_positions=3)
"""Batches of a few padded rows, their positions in several chunks."""
CPU = torch.device("cpu")


def pair(kind: str) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A teacher and a student with rows that pad their vocabularies, each to another size."""
    return model(kind, vocabulary=320, seed=1), model(kind, vocabulary=310, seed=2)


def log_probabilities(net: PreTrainedModel, rows: list[Encoded]) -> list[Tensor]:
    """Of every row, [R, V] in float64: one padded batch of all, by transformers alone."""
    wide = copy.deepcopy(net).double()
    width = max(len(row.prompt) + len(row.response) for row in rows)
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        text = torch.tensor(row.prompt + row.response)
        ids[i, : len(text)], mask[i, : len(text)] = text, 1
    with torch.no_grad():
        logits = wide(input_ids=ids, attention_mask=mask).logits[:, :, :VOCABULARY]
    logp = logits.log_softmax(-1)
    begins = [len(row.prompt) - 1 for row in rows]
    return [logp[i, begin : begin + len(row.response)] for i, (begin, row) in enumerate(zip(begins, rows, strict=True))]


def expected(teacher: PreTrainedModel, student: PreTrainedModel, rows: list[Encoded]) -> list[dict[str, float]]:
    found = []
    for row, logp, logq in zip(rows, log_probabilities(teacher, rows), log_probabilities(student, rows), strict=True):
        places, labels = range(len(row.response)), row.response
        student_nll, teacher_nll = (-each[places, labels].mean() for each in (logq, logp))
        values = {
            "nll": student_nll,
            "student_entropy": -(logq.exp() * logq).sum(-1).mean(),
            "teacher_nll": teacher_nll,
            "forward_kl": (logp.exp() * (logp - logq)).sum(-1).mean(),
            "nll_ratio": student_nll / teacher_nll,
        }
        found.append({name: float(value) for name, value in values.items()})
    return found


def scored(
    teacher: PreTrainedModel, student: PreTrainedModel, rows: list[Encoded], engine: Engine
) -> list[dict[str, float]]:
    """Both families' columns of every row."""
    chunk = engine.loss_positions
    alone = reference_means(signal_values(OF_STUDENT, VOCABULARY, chunk, student), rows, 0, CPU, engine)
    both = reference_means(signal_values(OF_TEACHER, VOCABULARY, chunk, student, teacher), rows, 0, CPU, engine)
    return [_of_student(one) | _of_teacher(two) for one, two in zip(alone, both, strict=True)]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_every_signal_is_that_of_float64(kind: str) -> None:
    teacher, student = pair(kind)
    rows = encoded()
    ours, theirs = scored(teacher, student, rows, TIGHT), expected(teacher, student, rows)
    assert len(ours) == len(theirs) == 8
    assert len({row.num_tokens for row in rows}) > 3, "some row of a batch is padded"
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys() == {"nll", "student_entropy", "teacher_nll", "forward_kl", "nll_ratio"}
        assert one == pytest.approx(other, rel=1e-4)
        assert one["forward_kl"] > 0
    assert len({round(one["forward_kl"], 6) for one in ours}) == 8


def test_a_row_s_signals_do_not_depend_on_how_the_rows_are_cut() -> None:
    teacher, student = pair("llama")
    rows = encoded()
    wide, longer = Engine(device="cpu"), Encoded("f" * 16, [3] * 40, [4] * 20, False)
    tight = scored(teacher, student, rows, TIGHT)
    beside = scored(teacher, student, [longer, *rows[::-1], rows[0]], wide)
    assert beside[8:] == [beside[8], beside[8]], "a row that is there twice has its values twice"
    for one, other in zip(tight, beside[8:0:-1], strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_teacher_that_is_the_student_is_at_no_distance() -> None:
    _, student = pair("llama")
    same = scored(copy.deepcopy(student), student, encoded(), TIGHT)
    assert len(same) == 8
    for values in same:
        assert values["forward_kl"] == 0
        assert values["nll_ratio"] == 1
        assert values["teacher_nll"] == values["nll"]


def test_the_nll_is_that_of_the_reflection() -> None:
    student, rows = model(vocabulary=len(tokenizer())), encoded()
    measure = signal_values(OF_STUDENT, len(tokenizer()), TIGHT.loss_positions, student)
    means = reference_means(measure, rows, 0, CPU, TIGHT)
    assert len(means) == 8
    assert [nll for nll, _ in means] == pytest.approx(reference_nll(student, rows, tokenizer(), TIGHT), rel=1e-6)


def test_entropy_is_that_of_known_distributions() -> None:
    logits = torch.tensor([[0.0, 0, 0, 0], [0, -torch.inf, -torch.inf, -torch.inf], [0, 0, -torch.inf, -torch.inf]])
    labels = torch.zeros(3, dtype=torch.long)
    nats = IMPORTANCE["student_entropy"](Known(labels, labels, logq=logits.log_softmax(-1))).tolist()
    assert nats == pytest.approx([torch.log(torch.tensor(4.0)).item(), 0, torch.log(torch.tensor(2.0)).item()])


def test_a_teacher_that_is_sure_gives_a_large_ratio_and_no_infinity() -> None:
    assert _of_teacher([0.0, 1.0, 2.0])["nll_ratio"] == pytest.approx(2e6)
    assert _of_teacher([0.5, 1.0, 2.0])["nll_ratio"] == 4


def test_a_scoring_pass_costs_a_forward_pass_of_each_reader_and_writes_nothing() -> None:
    rows = encoded()
    tokens, positions = sum(row.num_tokens for row in rows), sum(len(row.response) for row in rows)
    small, large = Size(1000, 1000), Size(3000, 3000)
    alone, both = reading_counts(rows, [small]), reading_counts(rows, [small, large])
    assert alone == {"scoring_passes": 8, "scored_tokens": positions, "flops": 2 * 1000 * tokens}
    assert both == {"scoring_passes": 16, "scored_tokens": 2 * positions, "flops": 2 * 4000 * tokens}
    # Of an encoder-decoder model either text goes through a stack of its own.
    by_stack = 2 * (10 * (tokens - positions) + 1000 * positions)
    assert reading_counts(rows, [Size(10, 1000)])["flops"] == by_stack
