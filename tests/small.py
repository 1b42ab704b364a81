"""Small objects for tests: a byte-level tokenizer, random models, a composed config."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Engine, Recipe
from srd.distillation.divergences import DIVERGENCES
from srd.distillation.loss import distillation_loss
from srd.stages.tokenizer import train_bpe
from srd.text.encoding import Encoded
from srd.training.loop import Training

SIZES: dict[str, dict[str, Any]] = {
    "gpt_neox": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "phi": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "llama": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
    "mistral": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128},
    "gemma2": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "final_logit_softcapping": 2.0,
    },
    "cohere": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "logit_scale": 0.3,
    },
}


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return train_bpe(texts(), 300)


def texts() -> list[str]:
    """Enough different words for a vocabulary of a few hundred."""
    syllables = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sta", "tri"]
    return [f"{a}{b}{c} {b}{c}" for a in syllables for b in syllables for c in syllables]


def model(kind: str = "llama", vocabulary: int = 300, seed: int = 0, **more: Any) -> PreTrainedModel:
    """A random model in eval mode, its weights large enough that its answers vary."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": vocabulary,
        "eos_token_id": 1,
        "bos_token_id": None,
        "pad_token_id": 0,
        **SIZES[kind],
        **more,
    }
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    return made.eval()


def encoded(count: int = 8) -> list[Encoded]:
    """Rows of different lengths; ids from 2 on, responses end in EOS (1)."""
    generator = torch.Generator().manual_seed(1)

    def ids(length: int) -> list[int]:
        return torch.randint(2, 300, (length,), generator=generator).tolist()

    return [Encoded(f"{i:016x}", ids(2 + i % 4), [*ids(1 + (3 * i) % 5), 1], False) for i in range(count)]


def mean_divergence(
    teacher: Tensor,
    student: Tensor,
    mask: Tensor,
    name: str,
    temperature: float = 1.0,
    power: int | str = "official",
    **parameters: float,
) -> Tensor:
    """Mean of τ^k · D(p_τ, q_τ) over the positions where `mask` holds, by the loss that training uses: a number."""
    chosen = mask.bool()
    labels = torch.zeros(int(chosen.sum()), dtype=torch.long)
    sums = distillation_loss(teacher[chosen], student[chosen], labels, name, temperature, 0.0, power, **parameters)
    return sums.loss / len(labels)


def divergence(name: str, logp: Tensor, logq: Tensor, labels: Tensor | None = None, **more: float) -> Tensor:
    """D at each position; class 0 is the label where none are given."""
    labels = torch.zeros(logp.shape[:-1], dtype=torch.long) if labels is None else labels
    return DIVERGENCES[name](logp, logq, labels, **more)


def divergence_at(
    teacher: Tensor,
    student: Tensor,
    name: str,
    temperature: float,
    power: int,
    labels: Tensor | None = None,
    **more: float,
) -> Tensor:
    """τ^k · D(p_τ, q_τ) at each of any positions, in float32 or wider, without the loss that training uses."""
    logp, logq = ((each if each.dtype == torch.float64 else each.float()) / temperature for each in (teacher, student))
    return divergence(name, logp.log_softmax(-1), logq.log_softmax(-1), labels, **more) * temperature**power


def random_logits(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Logits of some spread, [4, 6, 31] unless another shape is named."""
    return 3 * torch.randn(*(shape or (4, 6, 31)), generator=torch.Generator().manual_seed(seed)).to(dtype)


def training(
    folder: Path, student: nn.Module, recipe: Recipe | None = None, engine: Engine | None = None, **options: Any
) -> Training:
    """A training that logs to its folder alone."""
    folder.mkdir(exist_ok=True)
    engine = engine or Engine(device="cpu")
    return Training(student, recipe or Recipe(), engine, folder, 0, lambda row: None, **options)
