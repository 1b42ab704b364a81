"""BERTScore of answers (Zhang et al. 2020, arXiv 1904.09675): how alike their tokens are to the references' in context.

As the package bert-score computes it without rescaling and idf: states of one layer of an encoder, special tokens
weigh nothing but may be matched with, F of the greedily matched cosines. Unlike the package no space is set before
a text, which tokenizers of RoBERTa's kind see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from srd.errors import UserError, first_line
from srd.store.rows import Sample

# The graph imports this file for the names of the metrics.
if TYPE_CHECKING:
    import torch

TEXTS_AT_ONCE = 32
"""Texts that are encoded at a time."""


@dataclass(frozen=True)
class Embedder:
    """An encoder and its tokenizer, loaded at first use."""

    name: str
    revision: str | None
    layer: int
    device: str

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The tokenizer and the model, in eval mode; what cannot be loaded is a `UserError`."""
        from transformers import AutoModel, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.name, revision=self.revision)
            model = AutoModel.from_pretrained(self.name, revision=self.revision).eval().to(self.device)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"evaluate.encoder.name={self.name}: cannot be loaded ({first_line(error)}); expected an encoder with "
                "its tokenizer, as save_pretrained leaves them"
            ) from None
        layers = model.config.num_hidden_layers
        if self.layer > layers:
            raise UserError(f"evaluate.encoder.layer={self.layer}: {self.name} has {layers}; set 0 to {layers}")
        return tokenizer, model

    def states(self, texts: Sequence[str]) -> "list[tuple[torch.Tensor, torch.Tensor]]":
        """Of every text the states [T, H] of its tokens, of length 1, and what each token weighs [T]."""
        import torch

        tokenizer, model = self.loaded
        longest = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        for begin in range(0, len(texts), TEXTS_AT_ONCE):
            batch = tokenizer(
                [text.strip() for text in texts[begin : begin + TEXTS_AT_ONCE]],
                truncation=True,
                max_length=longest,
                padding=True,
                return_special_tokens_mask=True,
                return_tensors="pt",
            ).to(self.device)
            weighs = 1 - batch.pop("special_tokens_mask")
            with torch.no_grad():
                states = model(**batch, output_hidden_states=True).hidden_states[self.layer].float()
            states = torch.nn.functional.normalize(states, dim=-1)
            there = batch["attention_mask"].bool()
            found += [(s[t].cpu(), w[t].float().cpu()) for s, w, t in zip(states, weighs, there, strict=True)]
        return found


def bert_score(answers: Sequence[str], samples: Sequence[Sample], embedder: Embedder) -> list[float]:
    """The F of every answer, best over its references; 0 where a text has no token of its own."""
    references = [sample.references for sample in samples]
    texts = list(dict.fromkeys([*answers, *(text for each in references for text in each)]))
    # Texts of one length stand together, so that little is padding.
    texts.sort(key=len)
    states = dict(zip(texts, embedder.states(texts), strict=True))
    pairs = zip(answers, references, strict=True)
    return [max(_matched(states[answer], states[text]) for text in each) for answer, each in pairs]


def _matched(answer: "tuple[torch.Tensor, torch.Tensor]", reference: "tuple[torch.Tensor, torch.Tensor]") -> float:
    """F of the cosines of greedily matched tokens."""
    (ours, our_weights), (theirs, their_weights) = answer, reference
    if not our_weights.sum() or not their_weights.sum():
        return 0.0
    cosines = ours @ theirs.T
    precision = float(cosines.max(1).values @ our_weights / our_weights.sum())
    recall = float(cosines.max(0).values @ their_weights / their_weights.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
