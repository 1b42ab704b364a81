"""Encoder-decoder models: logits, losses, gradients, caches, cuts and adapters are those of the library's own pass."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from srd.config import Engine, Lora, Method
from srd.distillation.cached import CachedTeacher, load_head, save_head
from srd.distillation.loss import distillation
from srd.distillation.records import record_of
from srd.distillation.reference import reference_nll
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.errors import UserError
from srd.generation.decoding import decode
from srd.models.build import keep_layers
from srd.models.checkpoints import folded, trainable
from srd.models.heads import Seq2SeqHead, head_of, hidden_at, logits_at
from srd.models.load import size_of
from srd.models.seq2seq import start_id
from srd.models.trial import try_out
from srd.models.weights import load_weights
from srd.stages.cache import build
from srd.text.batches import collate
from srd.text.encoding import Encoded
from tests.seq2seq import KINDS, folder_of, made, rows, seq2seq, tokenizer
from tests.small import training

MIXED = PhaseLoss(1.7, 0.3)


def by_library(net: PreTrainedModel, row: Encoded) -> Tensor:
    """Logits of a row's response by the library alone, with its own shift of the labels."""
    return net(input_ids=torch.tensor([row.prompt]), labels=torch.tensor([row.response])).logits[0]


@pytest.mark.parametrize("name", KINDS)
def test_logits_are_the_library_s_whatever_shares_the_batch(name: str) -> None:
    net, given = made(name), rows()
    assert isinstance(head_of(net), Seq2SeqHead)
    expected = torch.cat([by_library(net, row)[:, :300] for row in given])
    for side in ("right", "left"):
        torch.testing.assert_close(logits_at(net, collate(given, 0, side), 300), expected, rtol=1e-4, atol=1e-4)
    apart = torch.cat([logits_at(net, collate([row], 0), 300) for row in given])
    torch.testing.assert_close(apart, expected, rtol=1e-4, atol=1e-4)
    assert len(head_of(net.requires_grad_(True)).parameters(net)) == 1


@pytest.mark.parametrize("name", KINDS)
def test_the_reference_s_nll_is_the_library_s_loss(name: str) -> None:
    net, given = made(name, vocabulary=300), rows()
    expected = [
        float(net(input_ids=torch.tensor([row.prompt]), labels=torch.tensor([row.response])).loss.detach())
        for row in given
    ]
    for engine in (Engine(device="cpu"), Engine(device="cpu", micro_batch_tokens=16, loss_positions=3)):
        assert reference_nll(net, given, tokenizer(), engine) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["t5, tied", "mt5, untied"])
def test_a_step_is_one_mean_however_it_is_cut(name: str, tmp_path: Path) -> None:
    """Loss and gradient of chunks and micro-batches are those of a plain pass of the whole in float32."""
    teacher, given = made(name, seed=1), rows()
    plain = made(name, seed=2).requires_grad_(True)
    count = sum(len(row.response) for row in given)
    total = torch.zeros(())
    for row in given:
        p, q = (by_library(net, row)[:, :300] / 1.7 for net in (teacher, plain))
        kl = (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum()
        total = total + 0.3 * cross_entropy(
            by_library(plain, row)[:, :300], torch.tensor(row.response), reduction="sum"
        )
        total = total + 0.7 * kl
    (total / count).backward()
    whole = {key: p.grad for key, p in plain.named_parameters() if p.grad is not None}
    objective = distillation(OnlineTeacher(teacher, 300), Method(temperature_power="0"), 300)
    for tokens in (10, 24, 1000):
        student = made(name, seed=2).requires_grad_(True)
        engine = Engine(device="cpu", micro_batch_tokens=tokens, loss_positions=5)
        run = training(tmp_path / str(tokens), student, engine=engine)
        sums = run.updater.accumulate(given, objective, MIXED, 1)
        assert float(sums.means["loss"]) == pytest.approx(float(total.detach()) / count, rel=1e-4)
        cut = {key: p.grad for key, p in run.state.parameters.items() if p.grad is not None}
        assert cut.keys() == whole.keys()
        for key, gradient in cut.items():
            torch.testing.assert_close(gradient, whole[key], rtol=1e-3, atol=1e-5, msg=key)
    assert len(whole) > 20


@pytest.mark.parametrize("name", KINDS)
def test_the_cache_gives_the_loss_and_the_gradient_of_the_live_teacher(name: str, tmp_path: Path) -> None:
    teacher, given = made(name, seed=1), rows()
    (tmp_path / "head").mkdir()
    save_head(teacher, tmp_path / "head")
    hidden = hidden_at(teacher, collate(given, 0))
    again = head_of(teacher).logits(load_head(tmp_path / "head", torch.device("cpu")), hidden, 300)
    torch.testing.assert_close(again, logits_at(teacher, collate(given, 0), 300), rtol=0, atol=0)
    (tmp_path / "cache").mkdir()
    record = record_of({"width": 16, "dtype": "float32"}, 300)
    build(teacher, given, tmp_path / "cache", record, Engine(micro_batch_tokens=24), 0, 300)
    cache = CachedTeacher(tmp_path / "cache", 300, torch.device("cpu"))
    found = []
    for signal in (OnlineTeacher(teacher, 300), cache):
        student = made(name, seed=2).requires_grad_(True)
        loss = distillation(signal, Method(), 300)(student, collate(given[2:6], 0), MIXED).loss
        loss.backward()
        grads = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
        found.append((float(loss.detach()), grads))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert float((found[0][1] - found[1][1]).norm() / found[0][1].norm()) < 1e-4


def test_a_student_of_some_layers_computes_with_them_and_keeps_the_positions() -> None:
    """The table of relative positions, which the first block of a stack has for all, stays where the first goes."""
    whole = seq2seq(num_layers=3, num_decoder_layers=3)
    for layers, decoder_layers in (([0, 2], None), ([1, 2], None), ([2], [0, 1, 2])):
        net = seq2seq(num_layers=3, num_decoder_layers=3)
        keep_layers(net, layers, decoder_layers)
        kept = {"encoder": layers, "decoder": decoder_layers or layers}
        assert (net.config.num_layers, net.config.num_decoder_layers) == tuple(map(len, kept.values()))
        assert logits_at(net, collate(rows(3), 0), 300).isfinite().all()
        for part, chosen in kept.items():
            ours, theirs = (getattr(each, part).block for each in (net, whole))
            assert len(ours) == len(chosen)
            for new, old in zip(ours, chosen, strict=True):
                weights = [(key, w) for key, w in theirs[old].named_parameters() if "relative" not in key]
                assert all(torch.equal(new.get_parameter(key), weight) for key, weight in weights)
            table = theirs[0].layer[0].SelfAttention.relative_attention_bias.weight
            assert torch.equal(ours[0].layer[0].SelfAttention.relative_attention_bias.weight, table)
    with pytest.raises(UserError, match=r"model.student.decoder_layers=\[3\]: expected different indices in 0 … 2"):
        keep_layers(seq2seq(num_layers=3, num_decoder_layers=3), [0], [3])


@pytest.mark.parametrize("name", ["t5, tied", "t5, untied", "mt5, untied"])
def test_weights_and_adapters_come_back_as_they_were_saved(name: str, tmp_path: Path) -> None:
    net, batch = made(name), collate(rows(), 0)
    expected = logits_at(net, batch, 300)
    again = load_weights(str(folder_of(net, tmp_path / "whole")), "model.student.name")
    torch.testing.assert_close(logits_at(again.eval(), batch, 300), expected, rtol=1e-5, atol=1e-5)
    adapted = trainable(made(name), Lora(rank=2, alpha=4), 1)
    names = {key for key, p in adapted.named_parameters() if p.requires_grad}
    assert len(names) > 20
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if key in names:
                parameter.normal_(0, 0.1)
    moved = logits_at(adapted, batch, 300)
    assert not torch.allclose(moved, expected, atol=1e-2)
    merged = folded(adapted, "it")
    torch.testing.assert_close(logits_at(merged, batch, 300), moved, rtol=1e-3, atol=1e-4)
    again = load_weights(str(folder_of(merged, tmp_path / "merged")), "model.student.name")
    torch.testing.assert_close(logits_at(again.eval(), batch, 300), moved, rtol=1e-3, atol=1e-4)


def test_what_a_token_is_computed_with_adds_up() -> None:
    net = made("t5, tied")
    size, whole = size_of(net), sum(p.numel() for p in net.parameters())
    assert size.prompt + size.response == whole
    cross = 2 * 2 * 16 * 16  # keys and values of two decoder blocks, made of the encoder's states
    assert size.prompt == cross + sum(p.numel() for p in net.encoder.parameters()) - net.shared.weight.numel()


def test_what_a_decoder_starts_with_is_asked_for() -> None:
    net = made("mt5, untied")
    assert start_id(net) == 0
    for start in (None, 310, -1):
        net.config.decoder_start_token_id = net.generation_config.decoder_start_token_id = start
        with pytest.raises(UserError, match=f"decoder_start_token_id={start}, expected an id below 310"):
            start_id(net)


@pytest.mark.parametrize("tokens", [1, 2, 5, 40])
def test_a_model_is_tried_on_a_row_of_any_length(tokens: int) -> None:
    net = made("t5, untied")
    try_out(net, Encoded("0" * 16, [5, 1], list(range(6, 5 + tokens)), False), "student")
    assert isinstance(head_of(net), Seq2SeqHead)
    assert decode(net, [[5, 6, 1]], lambda logits, _: logits.argmax(-1), {1}, 2, 1, 64)
