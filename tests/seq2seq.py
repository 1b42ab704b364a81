"""Tiny encoder-decoder models, rows for them, and a tokenizer that ends a text as T5's does."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from srd.models.checkpoints import save_model
from srd.text.encoding import Encoded
from tests.small import texts

SIZE: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "t5, tied": {"kind": "t5", "feed_forward_proj": "relu"},
    "t5, untied": {"kind": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "untied": True},
    "mt5, tied": {"kind": "mt5", "feed_forward_proj": "relu"},
    "mt5, untied": {"kind": "mt5", "untied": True},
    "t5, a higher decoder": {"kind": "t5", "num_decoder_layers": 3},
}
"""T5 scales what enters a tied head; T5 1.1, flan-T5 and mT5 have an untied one and gated layers."""


def seq2seq(
    kind: str = "t5", vocabulary: int = 310, seed: int = 0, untied: bool = False, **more: Any
) -> PreTrainedModel:
    """A random encoder-decoder model in eval mode, its weights large enough that its answers vary; without dropout."""
    torch.manual_seed(seed)
    tokens = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "dropout_rate": 0.0}
    config = AutoConfig.for_model(kind, **{"vocab_size": vocabulary, **SIZE, **tokens, **more})
    made = AutoModelForSeq2SeqLM.from_config(config)
    if untied:
        made.lm_head.weight = nn.Parameter(torch.empty_like(made.lm_head.weight))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    return made.eval()


def made(name: str, seed: int = 0, **more: Any) -> PreTrainedModel:
    """One of the `KINDS`."""
    return seq2seq(**{**KINDS[name], "seed": seed, **more})


def rows(count: int = 8) -> list[Encoded]:
    """Rows of different lengths; both texts end in EOS (1)."""
    generator = torch.Generator().manual_seed(1)

    def ids(length: int) -> list[int]:
        return [*torch.randint(2, 300, (length,), generator=generator).tolist(), 1]

    return [Encoded(f"{i:016x}", ids(1 + (5 * i) % 7), ids(1 + (3 * i) % 5), False) for i in range(count)]


@cache
def tokenizer(vocabulary: int = 300) -> PreTrainedTokenizerBase:
    """A unigram tokenizer over spaces whose own call puts </s> behind a text."""
    fast = Tokenizer(models.Unigram())
    fast.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    fast.decoder = decoders.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    special = ["<pad>", "</s>", "<unk>"]
    alphabet = [chr(code) for code in range(33, 127)]
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=special, unk_token="<unk>", initial_alphabet=alphabet, show_progress=False
    )
    fast.train_from_iterator(texts(), trainer)
    fast.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])  # pyright: ignore
    return PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def folder_of(net: PreTrainedModel, folder: Path) -> Path:
    """The model and the tokenizer on disk, as a user has them."""
    save_model(net, tokenizer(), folder)
    return folder
