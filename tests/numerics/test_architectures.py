"""Every causal language model that can be built tiny gives the numbers of plain transformers, or is refused in one
line."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from srd.config import Engine, Lora, Method
from srd.distillation.loss import distillation, reference_loss
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.errors import UserError
from srd.generation.decoding import decode
from srd.models.build import keep_layers
from srd.models.checkpoints import folded, save_model, trainable
from srd.models.heads import logits_at
from srd.models.trial import try_out
from srd.models.weights import load_weights
from srd.text.batches import collate
from srd.text.encoding import Encoded
from tests.architectures import KINDS, NOT_BUILT, REFUSED, build
from tests.small import tokenizer

NOT_LOADED = {"emu3": "cannot be loaded", "mllama": "cannot be loaded", "youtu": "is not what model.safetensors holds"}
"""Kinds that transformers saves and does not load again: a part whose config it does not know, a head drawn anew."""


def rows() -> list[Encoded]:
    """Three rows of different lengths."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 290, (40,), generator=generator).tolist()
    return [Encoded(f"{n:016x}", ids[n : n + 3 + n], ids[20 : 24 + 2 * n], False) for n in range(3)]


def plain(net: PreTrainedModel, row: Encoded) -> Tensor:
    """The logits at a row's supervised positions by transformers alone."""
    ids = torch.tensor([row.prompt + row.response])
    return net(input_ids=ids).logits[0, len(row.prompt) - 1 : -1, :300]


def taken(kind: str) -> PreTrainedModel:
    """A model of a kind that is taken; of the others nothing is built."""
    if kind in NOT_BUILT:
        pytest.skip(f"not built: {NOT_BUILT[kind]}")
    if kind in REFUSED:
        pytest.skip(f"refused: {REFUSED[kind]}")
    net = build(kind)
    try_out(net, rows()[2], "student")
    return net


def close(found: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4 * float(right.abs().max()))


def test_most_kinds_are_taken_and_the_others_say_why() -> None:
    assert len(NOT_BUILT) == 19
    assert len(REFUSED) == 22
    assert {*NOT_BUILT, *REFUSED} < set(KINDS)
    assert len(KINDS) - len(NOT_BUILT) - len(REFUSED) >= 145


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_a_kind_that_cannot_be_taken_is_one_line(kind: str) -> None:
    net = build(kind)
    with torch.no_grad():
        plain(net, rows()[0])
    with pytest.raises(UserError, match=type(net).__name__) as told:
        try_out(net, rows()[2], "student")
    assert len(str(told.value).splitlines()) == 1


def test_models_that_see_the_future_are_refused() -> None:
    seen = 0
    for kind in ("bert", "electra", "roformer", "xlm", "cpmant"):
        net = build(kind)
        for part in net.modules():  # what is_decoder turns on is kept in many places
            if hasattr(part, "is_decoder"):
                part.is_decoder = False
        net.config.is_decoder = False
        with pytest.raises(UserError, match=r"bidirectional|numbers positions|padding"):
            try_out(net, rows()[2], "teacher")
        seen += 1
    assert seen == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_plain_transformers(kind: str) -> None:
    """Padded on either side; the chunked loss against one row at a time."""
    net = taken(kind)
    with torch.no_grad():
        right = torch.cat([plain(net, row) for row in rows()])
        for side in ("left", "right"):
            close(logits_at(net, collate(rows(), 0, side), 300), right)
    labels = torch.tensor([id for row in rows() for id in row.response])
    alone = torch.nn.functional.cross_entropy(torch.cat([plain(net, row) for row in rows()]).float(), labels)
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    expected = torch.autograd.grad(alone, list(named.values()), allow_unused=True)
    loss = reference_loss(300, Engine(device="cpu", loss_positions=4))
    (loss(net, collate(rows(), 0), PhaseLoss()).loss / len(labels)).backward()
    largest = max(float(gradient.abs().max()) for gradient in expected if gradient is not None)
    for (name, p), gradient in zip(named.items(), expected, strict=True):
        found = torch.zeros_like(p) if p.grad is None else p.grad.to_dense()
        gradient = torch.zeros_like(p) if gradient is None else gradient
        torch.testing.assert_close(
            found, gradient, rtol=1e-3, atol=1e-4 * largest, msg=lambda text, n=name: f"{n}: {text}"
        )
    kd = distillation(OnlineTeacher(net, 300), Method(divergence="forward_kl"), 300, Engine(loss_positions=4))
    assert abs(float(kd(net, collate(rows(), 0), PhaseLoss()).kd)) < 1e-4  # pyright: ignore


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_the_library_s_or_decoding_is_refused(kind: str) -> None:
    net, prompts = taken(kind), [row.prompt for row in rows()]
    try:
        found = decode(net, prompts, lambda logits, _: logits[:, :300].argmax(-1), {1}, 6, 2, 4096)
    except UserError as error:
        assert "cannot be decoded here" in str(error)  # noqa: PT017
        pytest.skip(str(error))
    for prompt, ids in zip(prompts, found, strict=True):
        # Without a cache at all: every token from the whole text.
        text = list(prompt)
        while len(text) < len(prompt) + 6 and (text == prompt or text[-1] != 1):
            with torch.no_grad():
                text.append(int(net(input_ids=torch.tensor([text])).logits[0, -1, :300].argmax()))
        assert ids == text[len(prompt) :]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_adapters_come_back_as_they_were_saved(kind: str, tmp_path: Path) -> None:
    net = taken(kind)
    save_model(net, tokenizer(), tmp_path / "whole")
    if kind in NOT_LOADED:
        with pytest.raises(UserError, match=NOT_LOADED[kind]):
            load_weights(str(tmp_path / "whole"), "model.student.name")
        return
    with torch.no_grad():
        right = plain(net, rows()[1])
        close(plain(load_weights(str(tmp_path / "whole"), "model.student.name"), rows()[1]), right)
        tuned = trainable(net, Lora(rank=2, alpha=4), seed=1)
        trained = [p for p in tuned.parameters() if p.requires_grad]
        assert trained
        for p in trained:
            p.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
        adapted = logits_at(tuned.eval(), collate([rows()[1]], 0), 300)
        assert not torch.allclose(adapted, right, atol=1e-3)
        close(plain(folded(tuned, "the adapter"), rows()[1]), adapted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_subset_comes_back_as_it_was_saved_or_is_refused(kind: str, tmp_path: Path) -> None:
    net = taken(kind)
    if kind in NOT_LOADED:
        pytest.skip("see above")
    try:
        keep_layers(net, [1])
    except UserError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        pytest.skip(str(error))
    save_model(net, tokenizer(), tmp_path)
    with torch.no_grad():
        close(plain(load_weights(str(tmp_path), "model.student.name"), rows()[1]), plain(net, rows()[1]))
