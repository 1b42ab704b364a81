"""The loop around the loss: order of the data, course of the learning rate, hand-over, the auxiliary loss."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from srd.config import Distill, Engine
from srd.distillation.loss import cross_entropy, reference_loss
from srd.distillation.schedules import PhaseLoss
from srd.errors import UserError
from srd.models.heads import logits_at
from srd.text.batches import Batch, collate
from srd.text.encoding import Encoded
from srd.training.corpus import corpus_rows, read_corpus
from srd.training.loop import Training
from srd.training.order import PhaseWork
from srd.training.step import AuxiliaryLoss
from tests.reading import read_jsonl
from tests.small import encoded, model, texts, tokenizer, training


def started(folder: Path, **options: Any) -> Training:
    """Two epochs of steps of three rows."""
    recipe = Distill(epochs=2, batch_sequences=3, learning_rate=1e-2)
    return training(folder, model(seed=2).requires_grad_(True), recipe, **options)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return read_jsonl(folder / "metrics.jsonl")


class Spy:
    """On-policy data that changes nothing and remembers what each step was given."""

    steps_ahead = 2

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def rows(self, step: int, upcoming: list[list[Encoded]]) -> list[Encoded]:
        assert step == len(self.seen)
        assert len(upcoming) <= 2
        self.seen.append([row.id for row in upcoming[0]])
        return upcoming[0]

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


def test_a_step_tells_what_the_next_one_reads(tmp_path: Path) -> None:
    expected: list[list[str]] = []
    seen: list[list[str]] = []

    def objective(net: Any, batch: Batch, settings: PhaseLoss) -> dict[str, Any]:
        seen.append(sorted(row.id for row in batch.rows))
        return reference_loss(300)(net, batch, settings)

    phase = PhaseWork(encoded(8), objective, prefetch=lambda rows: expected.append(sorted(row.id for row in rows)))
    started(tmp_path / "run").train([phase], lambda *_: None)
    assert len(seen) == 6
    assert expected == seen[1:]


@pytest.mark.parametrize("shuffled", [True, False])
def test_an_epoch_sees_every_sample_once_in_kept_or_seeded_order(tmp_path: Path, shuffled: bool) -> None:
    rows, spy = encoded(8), Spy()
    started(tmp_path / "run", on_policy=spy).train(
        [PhaseWork(rows, reference_loss(300), shuffled=shuffled)], lambda *_: None
    )
    epochs = [[id for step in spy.seen[start : start + 3] for id in step] for start in (0, 3)]
    ids = [row.id for row in rows]
    assert [sorted(epoch) for epoch in epochs] == [ids, ids]
    assert (epochs == [ids, ids]) == (not shuffled)
    assert (epochs[0] == epochs[1]) == (not shuffled)


@pytest.mark.parametrize("restarts", [True, False])
def test_the_learning_rate_restarts_in_every_phase_or_runs_through(tmp_path: Path, restarts: bool) -> None:
    phases = [PhaseWork(encoded(count), reference_loss(300)) for count in (3, 6, 9)]
    started(tmp_path / "run", restarts=restarts).train(phases, lambda *_: None)
    rates = [row["train/learning_rate"] for row in metrics(tmp_path / "run")]
    assert len(rates) == 2 * (1 + 2 + 3)
    peaks = [step for step, rate in enumerate(rates) if rate == pytest.approx(1e-2)]
    assert peaks == ([0, 2, 6] if restarts else [0])
    assert rates[-1] == pytest.approx(1e-7)


def test_loss_settings_follow_the_share_of_all_steps(tmp_path: Path) -> None:
    phases = [
        PhaseWork(encoded(count), reference_loss(300), lambda share: PhaseLoss(1 + share, 0.5)) for count in (3, 6)
    ]
    started(tmp_path / "run").train(phases, lambda *_: None)
    temperatures = [row["train/temperature"] for row in metrics(tmp_path / "run")]
    assert temperatures == pytest.approx([1 + step / 5 for step in range(6)])


def test_weights_that_were_kept_come_back(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    before = {name: p.detach().clone() for name, p in run.state.parameters.items()}
    run.state.snapshot()
    run.train([PhaseWork(encoded(6), reference_loss(300))], lambda *_: None)
    assert any(not torch.equal(before[name], p) for name, p in run.state.parameters.items())
    run.state.restore_snapshot()
    assert all(torch.equal(before[name], p) for name, p in run.state.parameters.items())


def test_the_auxiliary_loss_adds_its_weighted_mean(tmp_path: Path) -> None:
    main, aside = encoded(6)[:3], encoded(8)[5:]
    with_corpus = started(tmp_path / "with", auxiliary=AuxiliaryLoss(lambda step: aside, reference_loss(300), 0.7))
    sums = with_corpus.updater.gradients(main, reference_loss(300), PhaseLoss())
    student = model(seed=2).requires_grad_(True)
    losses = [
        cross_entropy(logits_at(student, collate(rows, 0), 300), collate(rows, 0).labels).mean()
        for rows in (main, aside)
    ]
    (losses[0] + 0.7 * losses[1]).backward()
    assert float(sums.means["corpus"]) == pytest.approx(float(losses[1].detach()), rel=1e-5)
    for ours, theirs in zip(with_corpus.state.parameters.values(), student.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_a_corpus_is_read_in_turn_with_a_new_order_each_round(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl.gz"
    with gzip.open(file, "wt") as out:
        out.writelines(json.dumps({"text": text}) + "\n" for text in [*texts()[:10], "b"])
    rows = read_corpus(str(file), tokenizer(), max_tokens=9)
    assert len(rows) == 10, "a text of one token has nothing to predict"
    assert all(row.num_tokens <= 9 and len(row.prompt) == 1 for row in rows)
    rounds = [[row.id for step in range(5 * n, 5 * n + 5) for row in corpus_rows(rows, 2, 1, step)] for n in (0, 1)]
    assert sorted(rounds[0]) == sorted(rounds[1]) == sorted(row.id for row in rows)
    assert rounds[0] != rounds[1]
    (tmp_path / "bad.jsonl").write_text('{"content": "x"}\n')
    with pytest.raises(UserError, match=r"bad.jsonl:1: no column 'text' \(columns: content\)"):
        read_corpus(str(tmp_path / "bad.jsonl"), tokenizer(), 9)


def test_out_of_memory_halves_the_micro_batches_and_changes_no_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device that holds 20 tokens, in the middle of a step: the weights come out as if it had been known before."""
    sizes: list[int] = []

    def narrow(net: Any, batch: Batch, settings: PhaseLoss) -> dict[str, Any]:
        sizes.append(batch.input_ids.numel())
        if sizes[-1] > 20:
            raise torch.OutOfMemoryError("no more")
        return reference_loss(300)(net, batch, settings)

    done = {}
    for name, objective in (("wide", reference_loss(300)), ("narrow", narrow)):
        done[name] = started(tmp_path / name)
        done[name].train([PhaseWork(encoded(8), objective)], lambda *_: None)
    assert done["narrow"].updater.micro_batch_tokens == 64, (
        "small enough for the cut with the least padding to have batches of one row"
    )
    assert max(sizes) > 20 >= sizes[-1]
    assert capsys.readouterr().err.count("out of memory: micro-batches of") == 6  # 4096 → 64
    for key in ("train/loss_nats", "train/gradient_norm"):
        rows = [[row[key] for row in metrics(tmp_path / name)] for name in done]
        assert rows[0] == pytest.approx(rows[1], rel=1e-5)
        assert len(rows[0]) == 6


def test_a_halving_is_remembered_when_a_run_goes_on(tmp_path: Path) -> None:
    """With dropout the cut decides the draws: killed after the halving and continued equals straight through."""

    def narrow(net: Any, batch: Batch, settings: PhaseLoss) -> dict[str, Any]:
        if batch.input_ids.numel() > 20:
            raise torch.OutOfMemoryError("no more")
        return reference_loss(300)(net, batch, settings)

    def begun(folder: Path) -> Training:
        net = model("gpt2", seed=2, resid_pdrop=0.3).requires_grad_(True)
        return training(folder, net, Distill(epochs=2, batch_sequences=3), Engine(device="cpu", save_steps=1))

    phase = PhaseWork(encoded(8), narrow)
    straight = begun(tmp_path / "straight")
    straight.train([phase], lambda *_: None)

    def dies(count: float, note: str = "") -> None:
        if killed.state.counters.step == 3:
            raise KeyboardInterrupt

    killed = begun(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        killed.train([phase], dies)
    again = begun(tmp_path / "killed")
    assert 0 < again.state.counters.step < 6
    assert again.updater.micro_batch_tokens < again.engine.micro_batch_tokens
    again.train([phase], lambda *_: None)
    for ours, theirs in zip(again.state.parameters.values(), straight.state.parameters.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_row_that_alone_is_too_much_is_one_line(tmp_path: Path) -> None:
    def full(net: Any, batch: Batch, settings: PhaseLoss) -> dict[str, Any]:
        raise torch.OutOfMemoryError("no more")

    with pytest.raises(UserError, match="out of memory with one sample of 11 tokens"):
        started(tmp_path / "run").train([PhaseWork(encoded(8), full)], lambda *_: None)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradient(tmp_path: Path, kind: str) -> None:
    gradients, kept = [], []
    for on in (False, True):
        net = model(kind, num_hidden_layers=6).requires_grad_(True)
        run = training(tmp_path / f"{on}", net, engine=Engine(device="cpu", gradient_checkpointing=on))
        bytes_kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: bytes_kept.append(t.nbytes) or t, lambda t: t):  # noqa: B023
            run.updater.gradients(encoded(8), reference_loss(300), PhaseLoss())
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
        kept.append(sum(bytes_kept))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)
    assert kept[1] < 0.6 * kept[0]
