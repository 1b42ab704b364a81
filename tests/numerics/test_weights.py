"""Weights are loaded exactly or refused in one line that names them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from srd.config import Lora
from srd.errors import UserError
from srd.models.checkpoints import folded, merged_with, save_model, trainable
from srd.models.heads import WholePass, head_of
from srd.models.trial import try_out
from srd.models.weights import load_weights
from srd.training.rounding import lost_share
from tests.architectures import build
from tests.reading import read_json
from tests.small import encoded, model, tokenizer

Tensors = dict[str, Tensor]
NORM, DOWN = "model.norm.weight", "model.layers.1.mlp.down_proj.weight"


def saved(folder: Path, edit: Callable[[Tensors], Tensors] = lambda tensors: tensors, **settings: object) -> Path:
    """A tiny model's folder, its tensors and config edited."""
    save_model(model(seed=3, tie_word_embeddings=False), tokenizer(), folder)
    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**read_json(folder / "config.json"), **settings}))
    return folder


def renamed(word: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {word + name: tensor for name, tensor in tensors.items()}


EDITS: dict[str, tuple[Callable[[Tensors], Tensors], dict[str, object], str]] = {
    "compiled": (
        renamed("_orig_mod."),
        {},
        r"all 21 weights are missing that carry '_orig_mod\.'.*rename them: python",
    ),
    "parallel": (renamed("module."), {}, r"all 21 weights are missing that carry 'module\.'"),
    "a part": (renamed("student.net."), {}, r"all 21 weights are missing that carry 'student\.net\.'"),
    "no head": (lambda t: {n: x for n, x in t.items() if n != "lm_head.weight"}, {}, r"1 weights missing \(lm_head"),
    "one more": (lambda t: {**t, "model.extra.weight": torch.ones(3)}, {}, r"1 weights unexpected \(model\.extra"),
    "fewer layers": (lambda t: t, {"num_hidden_layers": 1}, r"9 weights unexpected \(model\.layers\.1\."),
    "more layers": (lambda t: t, {"num_hidden_layers": 3}, r"9 weights missing \(model\.layers\.2\."),
    "wider": (lambda t: t, {"intermediate_size": 64}, r"6 weights of another shape"),
    "no heads": (lambda t: t, {"num_attention_heads": 0}, "cannot be loaded"),
    "a word": (lambda t: t, {"hidden_size": "many"}, "cannot be loaded"),
    "NaN": (lambda t: {**t, DOWN: t[DOWN] * float("nan")}, {}, rf"1 tensors hold NaN or infinity \({DOWN}\)"),
    "infinity": (lambda t: {**t, NORM: t[NORM] / 0}, {}, rf"1 tensors hold NaN or infinity \({NORM}\)"),
    "codes": (lambda t: {**t, DOWN: t[DOWN].to(torch.int8)}, {}, rf"1 weights are codes \({DOWN} I8\)"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_weights_that_do_not_fit_are_named(kind: str, tmp_path: Path) -> None:
    edit, settings, line = EDITS[kind]
    folder = saved(tmp_path / "m", edit, **settings)
    with pytest.raises(UserError, match=line) as told:
        load_weights(str(folder), "model.teacher.name")
    assert str(told.value).startswith(f"model.teacher.name={folder}: ")
    assert "\n" not in str(told.value)
    assert len(EDITS) == 13


def test_the_command_that_is_told_mends_the_names(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", renamed("_orig_mod."))
    with pytest.raises(UserError) as told:
        load_weights(str(folder), "model.teacher.name")
    exec(str(told.value).partition('python -c "')[2].removesuffix('"'))
    loaded = load_weights(str(folder), "model.teacher.name").state_dict()
    right = model(seed=3, tie_word_embeddings=False).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in right.items())


FILES = {
    b"": "empty; download it again",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n": "Git LFS pointer",
    b"<!DOCTYPE html><html>404</html>": "a web page",
    b"\x10\x00\x00\x00\x00\x00\x00\x00{": "is no safetensors file",
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_holds_no_weights_says_what_it_is(content: bytes, tmp_path: Path) -> None:
    folder = saved(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=FILES[content]):
        load_weights(str(folder), "model.teacher.name")
    assert len(FILES) == 4


def test_an_adapter_fits_or_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    save_model(trainable(model(seed=3), Lora(rank=2), 1), tokenizer(), tmp_path / "adapter")
    assert merged_with(model(seed=3), str(tmp_path / "adapter"), "model.teacher.adapter")
    with pytest.raises(UserError, match="does not fit LlamaForCausalLM"):
        merged_with(model(seed=3, hidden_size=32), str(tmp_path / "adapter"), "model.teacher.adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({name.replace("layers.1", "layers.7"): tensor for name, tensor in load_file(file).items()}, file)
    with pytest.raises(UserError, match=r"model\.teacher\.adapter=.*tensors have no place in the model or are missing"):
        merged_with(model(seed=3), str(tmp_path / "adapter"), "model.teacher.adapter")
    with pytest.raises(UserError, match=r"a LoRA adapter|cannot be loaded"):
        load_weights(str(tmp_path / "adapter"), "model.teacher.name")


def test_a_model_whose_head_cannot_be_fed_is_computed_whole() -> None:
    net = build("rembert")
    try_out(net, encoded(3)[2], "student")
    assert isinstance(head_of(net), WholePass)
    taken = build("opt")
    try_out(taken, encoded(3)[2], "student")
    assert not isinstance(head_of(taken), WholePass)


def test_half_precision_that_cannot_be_trained_is_refused_and_lost_steps_are_counted() -> None:
    with pytest.raises(UserError, match=r"model\.student\.dtype=float16: such weights cannot be trained"):
        trainable(model().half(), Lora(), 1)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(20_000, generator=generator).to(torch.bfloat16)
    for step in (1e-4, 1e-3, 1e-2):
        moved = float(((weights.float() + step).to(torch.bfloat16) != weights).float().mean())
        assert lost_share([weights], step) == pytest.approx(1 - moved, abs=0.02)
    assert lost_share([weights.float()], 1e-9) == 0


def test_an_adapter_on_a_layer_that_the_model_passes_over_is_refused() -> None:
    pytest.importorskip("peft")
    tuned = trainable(build("longcat_flash"), Lora(rank=2, target_modules=["classifier"]), 1)
    with torch.no_grad():
        for p in tuned.parameters():
            if p.requires_grad:
                p.normal_(0, 2.0, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=r"model\.teacher\.lora: folded into the weights of LongcatFlash.*another"):
        folded(tuned, "model.teacher.lora")
