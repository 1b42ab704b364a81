"""The correctness traps that distillation code falls into, one named test each; more on several of them in the other
files here."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srd.config import Engine, Generation, Method, StudentData
from srd.distillation.chunks import LossSums
from srd.distillation.divergences import DIVERGENCES
from srd.distillation.loss import Objective, cross_entropy, distillation
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.errors import UserError
from srd.generation.answerer import answer
from srd.models.heads import logits_at
from srd.pipeline import graph, scoring
from srd.stages.samples import clean
from srd.store.rows import Phase, Sample, sample_id
from srd.text.batches import collate
from srd.text.encoding import Encoded, encode
from srd.training.state import NOT_FINITE
from srd.training.step import step_seed
from srd.training.student_data import StudentResponses
from tests.composing import config
from tests.reading import read_json
from tests.small import SIZES, divergence_at, encoded, mean_divergence, model, random_logits, tokenizer, training

CASES = 22


def step_loss(rows: list[Encoded], objective: Objective, settings: PhaseLoss, folder: Path) -> float:
    """The loss of one optimiser step as the training loop reports it."""
    run = training(folder, model(seed=2).requires_grad_(True))
    return run.updater.step(rows, objective, settings)["train/loss_nats"]


def test_every_trap_has_its_test() -> None:
    numbers = [int(name[10:12]) for name in globals() if name.startswith("test_trap_")]
    assert numbers == list(range(1, CASES + 1))


def test_trap_01_shift_logits_at_t_predict_the_token_at_t_plus_1() -> None:
    net, row = model(), Encoded("0" * 16, [5, 6], [7, 8, 1], False)
    batch = collate([row], 0)
    whole = net(torch.tensor([[5, 6, 7, 8, 1]])).logits[0]
    by_hand = torch.stack([-torch.log_softmax(whole[t], -1)[token] for t, token in ((1, 7), (2, 8), (3, 1))])
    torch.testing.assert_close(cross_entropy(logits_at(net, batch, 300), batch.labels), by_hand)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_trap_02_padding_and_neighbours_are_not_counted(side: str, kind: str) -> None:
    teacher, student, rows = model(kind, seed=1), model(kind, seed=2), encoded()
    alone = torch.cat([logits_at(student, collate([row], 0), 300) for row in rows])
    torch.testing.assert_close(logits_at(student, collate(rows, 0, side), 300), alone, rtol=1e-4, atol=1e-4)
    longer = Encoded("f" * 16, [3] * 40, [4] * 20, False)
    objective, settings = distillation(OnlineTeacher(teacher, 300), Method(), 300), PhaseLoss(2.0, 0.3)
    narrow = objective(student, collate(rows, 0, side), settings).loss
    with_longer = objective(student, collate([*rows, longer], 0, side), settings).loss
    wide = with_longer - objective(student, collate([longer], 0), settings).loss
    torch.testing.assert_close(wide, narrow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_trap_03_pad_equal_to_eos_drops_no_eos(side: str) -> None:
    rows = encoded()
    batch = collate(rows, pad_id=1, side=side)
    assert batch.labels.tolist() == [id for row in rows for id in row.response]
    assert int(batch.supervised.sum()) == sum(len(row.response) for row in rows)
    assert not (batch.supervised & (batch.attention_mask == 0)).any()
    assert int((batch.labels == 1).sum()) == len(rows), "the EOS of every response is a target"
    assert batch.attention_mask.sum() == sum(row.num_tokens for row in rows), "and every real token is attended to"


def test_trap_04_a_cut_prompt_keeps_its_end_and_trains_no_prompt_token() -> None:
    settings = config("model=tiny", "model.max_prompt_tokens=4", "model.max_tokens=12").model
    row = encode(Sample("0" * 16, "babece dilafo nipori " * 9, "", "gulame", "train"), tokenizer(), settings)
    whole = encode(
        Sample("0" * 16, "babece dilafo nipori " * 9, "", "gulame", "train"),
        tokenizer(),
        replace(settings, max_prompt_tokens=11),
    )
    assert row.prompt == whole.prompt[-4:]
    assert row.prompt_was_cut
    batch = collate([row], 0)
    assert int(batch.supervised.sum()) == len(row.response)
    assert not batch.supervised[0, : len(row.prompt) - 1].any()
    raw = {"instruction": "a", "input": "", "output": " ", "split": "train", "where": "here"}
    assert clean([raw], strict=False) == ([], {"with an empty response": 1, "duplicates": 0}), (
        "without a response: dropped with a count"
    )


def test_trap_05_nothing_supervised_fails_early_and_never_divides_by_zero() -> None:
    with pytest.raises(AssertionError, match="no supervised position"):
        mean_divergence(random_logits(1), random_logits(2), torch.zeros(4, 6), "forward_kl")
    cut = encode(
        Sample("0" * 16, "ask " * 50, "", "", "train"), tokenizer(), config("model.max_prompt_tokens=111").model
    )
    assert len(cut.response) == 1, "a row always has a response token: its EOS, or the first that it was cut to"


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("kind", "sft_weight"), [("llama", 0.0), ("llama", 0.3), ("llama", 1.0), ("gpt2", 0.3), ("gemma2", 0.3)]
)
def test_trap_06_one_mean_over_the_step_however_it_is_cut(
    tmp_path: Path, kind: str, sft_weight: float, tied: bool
) -> None:
    """The loss is that of its rows one by one; loss and gradient are those of the whole batch in one forward pass."""
    still = {"tie_word_embeddings": tied, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    rows, settings, paddings = encoded(8), PhaseLoss(2.0, sft_weight), set()
    count = sum(len(row.response) for row in rows)
    objective = distillation(OnlineTeacher(model(kind, seed=1), 300), Method(), 300)
    one_by_one = [
        float(objective(model(kind, seed=2, **still), collate([row], 0), settings).loss.detach()) for row in rows
    ]
    net = model(kind, seed=2, **still).requires_grad_(True)
    assert (net.get_input_embeddings().weight is net.get_output_embeddings().weight) == tied
    (objective(net, collate(rows, 0), settings).loss / count).backward()
    whole = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert len(whole) >= 20
    widest = max(row.num_tokens for row in rows)
    for tokens in (widest, 4 * widest, 1000 * widest):
        student = model(kind, seed=2, **still).requires_grad_(True)
        run = training(tmp_path / str(tokens), student, engine=Engine(device="cpu", micro_batch_tokens=tokens))
        sums = run.updater.accumulate(rows, objective, settings, 1)
        paddings.add(sums.padded_tokens)
        assert float(sums.means["loss"]) == pytest.approx(sum(one_by_one) / count, rel=1e-5)
        cut = {name: p.grad for name, p in run.state.parameters.items() if p.grad is not None}
        assert cut.keys() == whole.keys()
        for name, gradient in cut.items():
            assert not gradient.is_sparse
            torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-6, msg=name)
    assert len(paddings) >= 2, "the splits must differ for the test to say anything"


@pytest.mark.parametrize("name", DIVERGENCES)
def test_trap_07_temperature_power_acts_on_the_gradient(name: str) -> None:
    def gradient(temperature: float, power: int) -> Tensor:
        student = random_logits(2).double().requires_grad_()
        mean_divergence(random_logits(1).double(), student, torch.ones(4, 6), name, temperature, power).backward()
        assert student.grad is not None
        return student.grad

    for temperature in (1.0, 2.0, 4.0):
        torch.testing.assert_close(gradient(temperature, 2), temperature**2 * gradient(temperature, 0))


def test_trap_08_the_sampling_temperature_never_reaches_the_loss() -> None:
    rows, teacher, student = encoded(4), model(seed=1), model(seed=2)
    values = set()
    for temperature in (0.5, 1.0, 2.0):
        method = Method(student_data=StudentData(share=1.0, generation=Generation(temperature=temperature)))
        loss_of = distillation(OnlineTeacher(teacher, 300), method, 300)
        values.add(float(loss_of(student, collate(rows, 0), PhaseLoss(1.5, 0.0)).loss.detach()))
    assert len(values) == 1


@pytest.mark.parametrize("name", DIVERGENCES)
def test_trap_09_half_precision_logits_make_no_negative_divergence(name: str) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        teacher = random_logits(1, 64, 5000, dtype=dtype)
        assert float(divergence_at(teacher, teacher, name, 1.0, 0).abs().max()) == 0
        assert float(divergence_at(teacher, teacher + torch.tensor(0.01, dtype=dtype), name, 1.0, 0).min()) >= -1e-6


def test_trap_10_rows_that_pad_the_vocabulary_have_no_mass() -> None:
    rows = encoded(4)
    objective, settings = (
        distillation(OnlineTeacher(model(seed=1, vocabulary=320), 300), Method(), 300),
        PhaseLoss(2.0, 0.3),
    )
    student = model(seed=2, vocabulary=320)
    assert logits_at(student, collate(rows, 0), 300).shape[1] == 300
    before = objective(student, collate(rows, 0), settings).loss
    with torch.no_grad():
        student.get_output_embeddings().weight[300:] += 50.0  # pyright: ignore
    torch.testing.assert_close(objective(student, collate(rows, 0), settings).loss, before)
    greedy, sampled = (Generation(temperature=temperature, max_new_tokens=6) for temperature in (0.0, 1.0))
    with torch.no_grad():
        student.get_output_embeddings().weight[len(tokenizer()) :] *= 50  # pyright: ignore
    for decoding in (greedy, sampled):
        ids = [id for a in answer(student, encoded(), tokenizer(), decoding, [1] * 8, Engine()) for id in a.ids]
        assert max(ids) < len(tokenizer()) == 300
        assert len(ids) >= 8


def test_trap_11_no_class_is_left_out() -> None:
    teacher, student = random_logits(1, 2, 1000), random_logits(2, 2, 1000)
    for name in DIVERGENCES:
        gradient = torch.autograd.functional.jacobian(
            lambda x, name=name: divergence_at(teacher, x, name, 1.0, 0).sum(), student
        )
        assert int((gradient != 0).sum()) == 2000, name  # pyright: ignore


@pytest.mark.parametrize("beta", [0.0, 1e-6, 0.1, 0.5, 0.9, 1 - 1e-6, 1.0])
def test_trap_12_mixtures_are_smooth_at_masked_classes_and_tiny_masses(beta: float) -> None:
    masked = torch.tensor([[0.0, -torch.inf, 1.0, -200.0], [0.0, 2.0, 1.0, -torch.inf]], dtype=torch.float64)
    for name, key in (("jensen_shannon", "beta"), ("skew_forward_kl", "alpha"), ("skew_reverse_kl", "alpha")):
        student = masked.flip(0).clone().requires_grad_()
        value = DIVERGENCES[name](torch.log_softmax(masked, -1), torch.log_softmax(student, -1), **{key: beta})
        value.sum().backward()
        assert torch.isfinite(value).all(), name
        assert student.grad is not None
        assert torch.isfinite(student.grad).all(), name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", SIZES)
def test_trap_13_the_head_keeps_its_post_processing(kind: str, tied: bool) -> None:
    net, batch = model(kind, tie_word_embeddings=tied), collate(encoded(), 0)
    whole = net(input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids).logits
    torch.testing.assert_close(logits_at(net, batch, 300), whole[batch.supervised])
    assert len(SIZES) == 7


def test_trap_14_a_wrapper_s_own_forward_is_called() -> None:
    class Wrapper(nn.Module):
        calls = 0

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.module = inner

        def forward(self, **inputs: Tensor) -> Any:
            self.calls += 1
            return self.module(**inputs)

    wrapper = Wrapper(model(seed=2))
    distillation(OnlineTeacher(model(seed=1), 300), Method(), 300)(wrapper, collate(encoded(3), 0), PhaseLoss(1.0, 0.0))
    assert wrapper.calls == 1, "else gradients would not be synchronised"


def test_trap_15_the_teacher_has_no_gradient_and_no_dropout() -> None:
    teacher = model("gpt2", seed=1, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    objective, batch, student = (
        distillation(OnlineTeacher(teacher, 300), Method(), 300),
        collate(encoded(), 0),
        model("gpt2", seed=2).requires_grad_(True),
    )
    losses = [objective(student, batch, PhaseLoss(1.0, 0.0)).loss for _ in range(2)]
    assert losses[0] == losses[1]
    losses[0].backward()
    assert not teacher.training
    assert all(p.grad is None for p in teacher.parameters())


def test_trap_16_samples_are_joined_by_the_hash_of_their_text() -> None:
    raw = [
        {"instruction": f"ask {i}", "input": "", "output": f"say {i}", "split": "train", "where": ""} for i in range(9)
    ]
    there, back = (clean(rows, strict=True)[0] for rows in (raw, raw[::-1]))
    assert {s.id: s.output for s in there} == {s.id: s.output for s in back}
    assert all(s.id == sample_id(s.instruction, s.input, s.output) for s in there)
    assert Phase(0, [s.id for s in there]).ids != [s.id for s in back], "and the order says nothing"


def test_trap_17_token_ids_are_wider_than_seventeen_bits() -> None:
    row = Encoded("0" * 16, [151_643, 200_001], [131_072, 1], False)
    batch = collate([row], 0)
    assert batch.labels.tolist() == [131_072, 1]
    on_policy = StudentResponses(
        lambda rows, seeds: [[151_936, 1]], StudentData(share=1.0, replay_capacity=2), [row], 1, 4, 99
    )
    on_policy.rows(0, [[row]])
    on_policy.restore(json.loads(json.dumps(on_policy.state())))
    assert on_policy.replay[0].response == [151_936, 1]


def test_trap_18_a_loss_that_is_not_finite_stops_with_the_samples(tmp_path: Path) -> None:
    def broken(net: nn.Module, batch: Any, settings: PhaseLoss) -> LossSums:
        return LossSums(logits_at(net, batch, 300).sum() * torch.inf)

    rows = encoded(3)
    with pytest.raises(UserError, match="not finite at step 0"):
        step_loss(rows, broken, PhaseLoss(), tmp_path / "run")
    assert read_json(tmp_path / "run" / NOT_FINITE)["ids"] == [row.id for row in rows]


@pytest.mark.parametrize(
    "override",
    [
        "model.template=alpaca",
        "model.max_prompt_tokens=63",
        "model.max_tokens=111",
        "model.vocabulary=2047",
        "model.teacher.dtype=bfloat16",
        "model.teacher.finetune.seed=3",
        "dataset.limit=99",
    ],
)
def test_trap_19_everything_the_teacher_s_signal_depends_on_is_in_its_key(override: str) -> None:
    assert (
        scoring.evaluate(config(override), "teacher", "heldout").fingerprint
        != scoring.evaluate(config(), "teacher", "heldout").fingerprint
    )
    assert graph.distill(config(override)).fingerprint != graph.distill(config()).fingerprint


@pytest.mark.parametrize(
    "settings",
    [
        Generation(temperature=0.0, max_new_tokens=6),
        Generation(temperature=1.0, max_new_tokens=6),
        Generation(temperature=0.7, top_k=20, top_p=0.9, max_new_tokens=6),
    ],
)
def test_trap_20_an_answer_does_not_depend_on_the_shape_of_its_batch(settings: Generation) -> None:
    net, rows = model(), encoded()
    together = answer(net, rows, tokenizer(), settings, [10] * len(rows), Engine())
    alone = [answer(net, [row], tokenizer(), settings, [10], Engine())[0] for row in rows]
    assert together == alone
    assert len(rows) == 8


def test_trap_21_every_sample_is_scored_once(tmp_path: Path) -> None:
    from srd.store.artefacts import Node, Work
    from srd.store.partial import fill
    from srd.store.rows import read_dicts

    items = [f"{i:02d}" for i in range(11)]
    work = Work(Node("reflect", 1, {}), tmp_path, {})
    fill(
        work, "rows.jsonl", items, 4, lambda batch, tick: ([{"id": id} for id in batch], {}), key=lambda row: row["id"]
    )
    assert [row["id"] for row in read_dicts(tmp_path / "rows.jsonl")] == items, (
        "no padding of the last batch, no repeats"
    )


def test_trap_22_chance_depends_on_seed_and_step_alone() -> None:
    def decisions(before: int) -> list[bool]:
        rows = encoded(4)
        on_policy = StudentResponses(
            lambda rows, seeds: [[s % 250 + 2, 1] for s in seeds],
            StudentData(share=0.5, every_steps=1),
            rows,
            3,
            20,
            99,
        )
        torch.manual_seed(before)
        torch.rand(before)
        return [on_policy.rows(step, [rows])[0].by_student for step in range(20)]

    assert decisions(1) == decisions(17)
    assert {True, False} == set(decisions(1))
    assert step_seed(3, 5) == step_seed(3, 5) != step_seed(3, 6)
