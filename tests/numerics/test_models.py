"""Logits at supervised positions are the model's own; students are cut and adapted as told."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from srd.config import Lora
from srd.errors import UserError
from srd.models.build import keep_layers
from srd.models.checkpoints import folded, save_model, trainable
from srd.models.heads import logits_at
from srd.models.load import load_model
from srd.pipeline.graph import pair
from srd.text.batches import collate
from tests.composing import config
from tests.reading import read_json
from tests.small import encoded, model, tokenizer


def test_a_layer_subset_is_those_layers_and_generates() -> None:
    whole, cut = model(num_hidden_layers=4), model(num_hidden_layers=4)
    keep_layers(cut, [0, 3])
    names = {name for name, _ in cut.named_parameters()}
    assert not any(".layers.2." in name for name in names)
    for name, parameter in cut.model.layers[1].named_parameters():
        assert torch.equal(parameter, whole.model.layers[3].get_parameter(name))
    assert cut.generate(input_ids=torch.tensor([[5, 6]]), max_new_tokens=3, do_sample=False).shape[1] >= 3
    with pytest.raises(UserError, match=r"expected different indices in 0 … 1"):
        keep_layers(cut, [2])


def test_an_adapter_waits_without_dropout() -> None:
    pytest.importorskip("peft")
    assert not any(module.training for module in trainable(model(), Lora(rank=2, dropout=0.5), 1).modules())


def test_lora_trains_the_adapter_only_and_starts_at_the_base_model() -> None:
    base, batch = model(seed=3), collate(encoded(), 0)
    before = logits_at(base, batch, 300).detach().clone()
    tuned = trainable(base, Lora(rank=2, alpha=4, dropout=0.0), seed=1)
    trained = [name for name, p in tuned.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    torch.testing.assert_close(logits_at(tuned.eval(), batch, 300), before)


def adapted(base: torch.nn.Module, lora: Lora, seed: int) -> torch.nn.Module:
    """A LoRA model whose adapter does something."""
    made = trainable(base, lora, seed)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed))
    return made.eval()


def test_an_adapter_is_merged_into_the_warm_start_that_it_was_trained_on(tmp_path: Path) -> None:
    """A warm start with LoRA, left whole, then distillation with LoRA on top of it."""
    save_model(model(seed=3), tokenizer(), tmp_path / "base")
    names = [f"model.{role}.name={tmp_path / 'base'}" for role in ("teacher", "student")]
    cfg = config("model=pair", *names, "model.student.lora.rank=2", "engine=cpu")
    batch = collate(encoded(), 0)
    warm = adapted(model(seed=3), cfg.model.student.lora, seed=1)
    right = logits_at(warm, batch, 300).detach()
    save_model(folded(warm, "the adapter"), tokenizer(), tmp_path / "student" / "model")
    inputs = {"student": tmp_path / "student"}
    started = load_model(pair(cfg), "student", inputs, tokenizer(), cfg.engine)
    torch.testing.assert_close(logits_at(started, batch, 300), right, rtol=1e-3, atol=1e-3)
    distilled = adapted(started, cfg.model.student.lora, seed=2)
    save_model(distilled, tokenizer(), tmp_path / "best")
    loaded = load_model(pair(cfg), "student", {**inputs, "checkpoint": tmp_path / "best"}, tokenizer(), cfg.engine)
    torch.testing.assert_close(logits_at(loaded, batch, 300), logits_at(distilled, batch, 300), rtol=1e-3, atol=1e-2)
    assert not torch.allclose(logits_at(loaded, batch, 300), right, atol=1e-1)


def random_student(seed: int, *overrides: str) -> PreTrainedModel:
    cfg = config("debug=smoke", "engine=cpu", *overrides)
    return load_model(pair(cfg), "student", {}, tokenizer(), cfg.engine, seed)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.student.architecture.model_type=lama", "not a language model that can be built"),
        ("model.student.architecture.hidden_size=63", "not a language model that can be built"),
        ("+model.student.architecture.hiden_size=8", "LlamaConfig has no such setting"),
        (
            "model.student.architecture.max_position_embeddings=40",
            "40 positions, but a prompt with its answer may take 64",
        ),
    ],
)
def test_a_student_that_cannot_be_is_refused_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        random_student(1, override)


def test_random_weights_are_the_same_wherever_a_stage_starts_from_them() -> None:
    first, again, other = random_student(10), random_student(10), random_student(11)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_a_saved_adapter_has_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    save_model(trainable(model(seed=3), Lora(rank=2), seed=1), tokenizer(), tmp_path)
    modules = read_json(tmp_path / "adapter_config.json")["target_modules"]
    assert modules == sorted(modules)
    assert len(modules) > 1
