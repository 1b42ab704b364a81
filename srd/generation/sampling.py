"""From logits to the next token: greedy or drawn, without padded classes and repeated n-grams.

Axes: B rows, V vocabulary.
"""

from collections import defaultdict

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from srd.config import Generation
from srd.generation.answers import stream_seed
from srd.generation.continuation import Continuation
from srd.text.encoding import Encoded


class Sampler:
    """From logits to the next id of each row: no padded classes, no n-gram twice, then the largest or a seeded draw."""

    def __init__(
        self, settings: Generation, rows: list[Encoded], seeds: list[int], vocabulary: int, device: torch.device
    ) -> None:
        self.vocabulary = vocabulary
        self.settings = settings
        self.seen: dict[int, NoRepeat] = {}
        self.warpers = _warpers(settings)
        # Where the draw is computed: sums of 50,000 probabilities lose small ones in float32, and Apple's GPUs have no
        # float64.
        self.exact = device if device.type == "cuda" else torch.device("cpu")
        # All numbers that a row may ever need are drawn before the first token, from a generator of its own: which rows
        # share a batch, and in which slot each one is, cannot change them.
        streams = []
        if settings.temperature > 0:
            streams = [np.random.default_rng(stream_seed(seed, row.id)) for row, seed in zip(rows, seeds, strict=True)]
        drawn = np.array([stream.random(settings.max_new_tokens) for stream in streams])
        self.uniforms = torch.tensor(drawn, device=self.exact)

    def __call__(self, logits: Float[Tensor, "B V"], rows: list[Continuation]) -> Int[Tensor, " B"]:
        """The ids that follow `rows`, from the logits behind them."""
        # Rows that pad the vocabulary hold noise: cut, they cannot be drawn.
        scores = logits[:, : self.vocabulary].float()
        if self.settings.no_repeat_ngram_size > 0:
            self._ban(scores, rows)
        if self.settings.temperature == 0:
            return scores.argmax(-1)
        for warp in self.warpers:
            scores = warp(None, scores)  # pyright: ignore[reportArgumentType]
        # Which prompt, and which of its tokens: a row's own column of numbers, wherever it stands in the batch.
        drawn = torch.tensor([[row.index, len(row.ids)] for row in rows], device=self.exact)
        return draw(scores.to(self.exact), self.uniforms[drawn[:, 0], drawn[:, 1]])

    def _ban(self, scores: Float[Tensor, "B V"], rows: list[Continuation]) -> None:
        """-inf for every id that would end an n-gram which the row has had."""
        for i, row in enumerate(rows):
            seen = self.seen.setdefault(row.index, NoRepeat(self.settings.no_repeat_ngram_size))
            scores[i, seen.followers(row.text)] = -torch.inf


def _warpers(settings: Generation) -> list[LogitsProcessor]:
    """What the settings do to the scores before a draw; nothing where the largest is taken."""
    # In transformers' order: top-p counts the probabilities that temperature and top-k have left.
    warpers: list[LogitsProcessor] = []
    if settings.temperature > 0:
        warpers.append(TemperatureLogitsWarper(float(settings.temperature)))
        if settings.top_k > 0:
            warpers.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p < 1:
            warpers.append(TopPLogitsWarper(settings.top_p))
    return warpers


class NoRepeat:
    """The n-grams of one growing text."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.known = 0
        self.after: dict[tuple[int, ...], set[int]] = defaultdict(set)

    def followers(self, ids: list[int]) -> list[int]:
        """Every id that has followed the last n - 1 ids of the text before; `ids` is the text of the last call,
        grown."""
        # Only the n-grams that have come since the last call: the library's processor reads the whole text every step.
        for end in range(max(self.known, self.size - 1), len(ids)):
            self.after[tuple(ids[end - self.size + 1 : end])].add(ids[end])
        self.known = len(ids)
        return sorted(self.after[tuple(ids[len(ids) - self.size + 1 :])]) if len(ids) >= self.size - 1 else []


def draw(scores: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Ids drawn from softmax(scores) with one number in [0, 1) a row, by the inverse of the distribution function in
    float64."""
    # Not torch.multinomial: its numbers come from one generator for the whole batch, so that a row's answer would
    # depend on the rows around it.
    mass = torch.softmax(scores.double(), dim=-1).cumsum(-1)
    # Times the last sum, which rounding leaves a little off one: a number near one must not fall behind the last class.
    drawn = torch.searchsorted(mass, (uniforms * mass[:, -1]).unsqueeze(1), right=True).squeeze(1)
    return drawn.clamp(max=scores.shape[1] - 1)
