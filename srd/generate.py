"""Answers and their likelihood: decoding with a random stream per row, and reference scoring apart from it.

Axes: B sequences, N supervised positions, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from srd.config import Engine, Generation
from srd.decoding import Row, decode
from srd.loss import cross_entropy
from srd.models import autocast, head_logits, hidden_at
from srd.runtime import processes
from srd.tokens import Encoded, collate, eos_id, pack, pad_id, text_of


@dataclass(frozen=True)
class Answer:
    """A decoded answer; `cut` where the length limit ended it, `ids` with its EOS where not."""

    text: str
    ids: list[int]
    cut: bool

    @property
    def tokens(self) -> int:
        return len(self.ids)


def answer(
    model: PreTrainedModel,
    rows: list[Encoded],
    tokenizer: PreTrainedTokenizerBase,
    settings: Generation,
    seeds: list[int],
    engine: Engine,
    tick: Callable[[int], None] = lambda rows: None,
) -> list[Answer]:
    """One answer for every row's prompt, in the order of `rows`; `seeds` gives each row's random stream (unused when
    greedy).

    An answer depends on its prompt, the settings and its seed alone, not on the rows around it, to float noise. `tick`
    hears of answers as they finish. Where several processes answer, each has its share, and all get the whole.
    """
    stops = stop_ids(model, tokenizer)
    mine = processes.share(rows)
    choice = Choice(settings, mine, processes.share(seeds), len(tokenizer), model.device)
    prompts = [row.prompt for row in mine]
    with autocast(model.device, engine):
        answers = decode(
            model,
            prompts,
            choice,
            stops,
            settings.max_new_tokens,
            engine.generation_sequences,
            engine.micro_batch_tokens,
            tick,
        )
    tick(len(rows) - len(mine))
    return [_answer(ids, stops, tokenizer) for ids in processes.merged(answers)]


Answerer = Callable[[list[Encoded], Generation, list[int], Callable[[int], None]], list[Answer]]
"""Answers rows under some decoding and seeds, telling how many have finished."""


@contextmanager
def answerer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, engine: Engine, max_tokens: int
) -> Iterator[Answerer]:
    """Who answers for a stage whose weights stand still: this process, or vLLM where the engine says so.

    `max_tokens` is the longest prompt with its answer.
    """
    if engine.generation_backend == "vllm":
        from srd.vllm import served

        with served(model, tokenizer, engine, max_tokens) as answers:
            yield answers
    else:
        yield lambda rows, settings, seeds, tick: answer(model, rows, tokenizer, settings, seeds, engine, tick)


class Choice:
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

    def __call__(self, logits: Tensor, rows: list[Row]) -> Tensor:
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

    def _ban(self, scores: Tensor, rows: list[Row]) -> None:
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


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every id that ends an answer: the tokenizer's EOS and those of the model's generation config."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    more = configured if isinstance(configured, list) else [configured]
    return {eos_id(tokenizer), *(id for id in more if id is not None)}


@torch.no_grad()
def reference_nll(
    model: PreTrainedModel, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[float]:
    """Mean negative log-likelihood of each row's response (EOS included), nats per token, float32.

    A pass of its own over whole sequences, packed by length; a sample that occurs twice is scored once.
    """
    different = list({row.id: row for row in rows}.values())
    mine = processes.share(different)
    nll_by_id: dict[str, float] = {}
    for part in pack(mine, engine.micro_batch_tokens):
        batch = collate(part, pad_id(tokenizer)).to(model.device)
        with autocast(model.device, engine):
            hidden = hidden_at(model, batch)
            chunks = zip(hidden.split(engine.loss_positions), batch.targets.split(engine.loss_positions), strict=True)
            nll = torch.cat(
                [cross_entropy(head_logits(model, some, len(tokenizer)), targets) for some, targets in chunks]
            ).cpu()
        means = [float(tokens.double().mean()) for tokens in nll.split([len(row.response) for row in part])]
        nll_by_id |= {row.id: mean for row, mean in zip(part, means, strict=True)}
    merged = processes.merged([nll_by_id[row.id] for row in mine])
    of_all = {row.id: nll for row, nll in zip(different, merged, strict=True)}
    return [of_all[row.id] for row in rows]


def stream_seed(seed: int, id: str) -> int:
    """Seed of one sample's random stream."""
    return int(np.random.SeedSequence([seed, int(id, 16)]).generate_state(1, np.uint64)[0])


def _answer(ids: list[int], stops: set[int], tokenizer: PreTrainedTokenizerBase) -> Answer:
    cut = ids[-1] not in stops
    return Answer(text_of(ids if cut else ids[:-1], tokenizer), ids, cut)
