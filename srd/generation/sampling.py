"""From logits to the next token: greedy or drawn, without padded classes and repeated n-grams.

Axes: B rows, V vocabulary.
"""

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from srd.config import Generation
from srd.generation.answers import stream_seed
from srd.generation.decoding import Continuation
from srd.text.encoding import Encoded


class Sampler:
    """From logits to the next id of each row: no padded classes, no n-gram twice, then the largest or a seeded draw."""

    def __init__(
        self, settings: Generation, rows: list[Encoded], seeds: list[int], vocabulary: int, device: torch.device
    ) -> None:
        self.vocabulary, self.settings, self.seen = vocabulary, settings, dict[int, NoRepeat]()
        t, k, p = settings.temperature, settings.top_k, settings.top_p
        self.warpers = [TemperatureLogitsWarper(float(t))] if t > 0 else []
        self.warpers += [TopKLogitsWarper(k)] if t > 0 and k > 0 else []
        self.warpers += [TopPLogitsWarper(p)] if t > 0 and p < 1 else []
        # Apple's GPUs have no float64.
        self.exact = device if device.type == "cuda" else torch.device("cpu")
        streams = (
            [np.random.default_rng(stream_seed(seed, row.id)) for row, seed in zip(rows, seeds, strict=True)]
            if t > 0
            else []
        )
        self.uniforms = torch.tensor(
            np.array([stream.random(settings.max_new_tokens) for stream in streams]), device=self.exact
        )

    def __call__(self, logits: Tensor, rows: list[Continuation]) -> Tensor:
        """The ids [B] that follow `rows`, from the logits [B, V] behind them."""
        scores = logits[:, : self.vocabulary].float()
        if self.settings.no_repeat_ngram_size > 0:
            self._ban(scores, rows)
        if self.settings.temperature == 0:
            return scores.argmax(-1)
        for warp in self.warpers:
            scores = warp(None, scores)  # pyright: ignore[reportArgumentType]
        places = torch.tensor([[row.index, len(row.ids)] for row in rows], device=self.exact)
        return draw(scores.to(self.exact), self.uniforms[places[:, 0], places[:, 1]])

    def _ban(self, scores: Tensor, rows: list[Continuation]) -> None:
        """-inf for every id that would end an n-gram which the row has had."""
        for place, row in enumerate(rows):
            seen = self.seen.setdefault(row.index, NoRepeat(self.settings.no_repeat_ngram_size))
            scores[place, seen.followers(row.prompt + row.ids)] = -torch.inf


class NoRepeat:
    """The n-grams of one growing text."""

    def __init__(self, size: int) -> None:
        self.size, self.known = size, 0
        self.after: dict[tuple[int, ...], set[int]] = defaultdict(set)

    def followers(self, ids: list[int]) -> list[int]:
        """Every id that has followed the last n - 1 ids of the text before; `ids` is the text of the last call,
        grown."""
        for end in range(max(self.known, self.size - 1), len(ids)):
            self.after[tuple(ids[end - self.size + 1 : end])].add(ids[end])
        self.known = len(ids)
        return sorted(self.after[tuple(ids[len(ids) - self.size + 1 :])]) if len(ids) >= self.size - 1 else []


def draw(scores: Tensor, uniforms: Tensor) -> Tensor:
    """Ids [B] drawn from softmax(scores [B, V]) with one number in [0, 1) a row, by the inverse of the distribution
    function in float64."""
    mass = torch.softmax(scores.double(), dim=-1).cumsum(-1)
    drawn = torch.searchsorted(mass, (uniforms * mass[:, -1]).unsqueeze(1), right=True).squeeze(1)
    return drawn.clamp(max=scores.shape[1] - 1)
