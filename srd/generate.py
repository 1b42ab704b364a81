"""Answers and their likelihood: batched decoding with a random stream per row, and reference scoring.

Axes: B sequences, T tokens, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from srd.config import Engine, Generation
from srd.loss import cross_entropy
from srd.models import autocast, head_logits, hidden_at
from srd.tokens import Encoded, collate, decode, eos_id, pack, pad_id


@dataclass(frozen=True)
class Answer:
    """A decoded answer; `cut` where the length limit ended it, `ids` with its EOS where not."""

    text: str
    ids: list[int]
    cut: bool

    @property
    def tokens(self) -> int:
        return len(self.ids)


class RowSampler(LogitsProcessor):
    """Turns greedy search into sampling: each row draws from its own seeded stream of uniforms.

    A row's answer so depends on its seed alone, not on its neighbours, the batch size or the order.
    """

    def __init__(self, streams: Tensor, prompt_tokens: int) -> None:
        self.streams, self.prompt_tokens = streams, prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        uniform = self.streams[:, input_ids.shape[1] - self.prompt_tokens]
        mass = torch.softmax(scores.to(self.streams.device, torch.float64), dim=-1).cumsum(-1)
        drawn = torch.searchsorted(mass, (uniform * mass[:, -1]).unsqueeze(1), right=True).clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn.to(scores.device), 0.0)


@torch.no_grad()
def answer(
    model: PreTrainedModel, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, settings: Generation, seeds: list[int]
) -> list[Answer]:
    """One answer for every row's prompt; `seeds` gives each row's random stream (unused when greedy)."""
    width = max(len(row.prompt) for row in rows)
    pad = pad_id(tokenizer)
    prompts = torch.tensor([[pad] * (width - len(row.prompt)) + row.prompt for row in rows], device=model.device)
    lengths = torch.tensor([len(row.prompt) for row in rows], device=model.device)
    mask = (torch.arange(width, device=model.device) >= width - lengths.unsqueeze(1)).long()
    output: Tensor = model.generate(  # pyright: ignore[reportCallIssue, reportAssignmentType]
        input_ids=prompts,
        attention_mask=mask,
        logits_processor=_processors(settings, rows, seeds, width, len(tokenizer), model.device),
        max_new_tokens=settings.max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        no_repeat_ngram_size=settings.no_repeat_ngram_size,
        eos_token_id=sorted(stop_ids(model, tokenizer)),
        pad_token_id=pad,
    )
    stops = stop_ids(model, tokenizer)
    return [_answer(ids, stops, tokenizer) for ids in output[:, width:].tolist()]


def answer_all(
    model: PreTrainedModel, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, settings: Generation, seeds: list[int], engine: Engine
) -> list[Answer]:
    """`answer` for any number of rows, longest prompts first in batches of the engine's size; answers in the order of `rows`."""
    order = sorted(range(len(rows)), key=lambda i: (-len(rows[i].prompt), rows[i].id, seeds[i]))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), engine.generation_sequences):
        part = order[start : start + engine.generation_sequences]
        with autocast(model.device, engine):
            given = answer(model, [rows[i] for i in part], tokenizer, settings, [seeds[i] for i in part])
        answers |= dict(zip(part, given, strict=True))
    return [answers[i] for i in range(len(rows))]


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every id that ends an answer: the tokenizer's EOS and those of the model's generation config."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    more = configured if isinstance(configured, list) else [configured]
    return {eos_id(tokenizer), *(id for id in more if id is not None)}


@torch.no_grad()
def reference_nll(model: PreTrainedModel, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[float]:
    """Mean negative log-likelihood of each row's response (EOS included), nats per token, float32.

    Computed in batches of at most `max_tokens` padded tokens; a sample that occurs twice is scored once.
    """
    nll_by_id: dict[str, float] = {}
    for part in pack(list({row.id: row for row in rows}.values()), max_tokens):
        batch = collate(part, pad_id(tokenizer)).to(model.device)
        hidden = hidden_at(model, batch)
        chunks = zip(hidden.split(Engine.loss_positions), batch.targets.split(Engine.loss_positions), strict=True)
        nll = torch.cat([cross_entropy(head_logits(model, some, len(tokenizer)), targets) for some, targets in chunks]).cpu()
        means = [float(tokens.double().mean()) for tokens in nll.split([len(row.response) for row in part])]
        nll_by_id |= {row.id: mean for row, mean in zip(part, means, strict=True)}
    return [nll_by_id[row.id] for row in rows]


def stream_seed(seed: int, id: str) -> int:
    """Seed of one sample's random stream."""
    return int(np.random.SeedSequence([seed, int(id, 16)]).generate_state(1, np.uint64)[0])


def _answer(ids: list[int], stops: set[int], tokenizer: PreTrainedTokenizerBase) -> Answer:
    end = next((index for index, id in enumerate(ids) if id in stops), None)
    return Answer(decode(ids[:end], tokenizer), ids if end is None else ids[: end + 1], end is None)


def _processors(
    settings: Generation, rows: list[Encoded], seeds: list[int], width: int, vocabulary: int, device: torch.device
) -> LogitsProcessorList:
    """Everything between logits and the greedy choice: no padded classes, then the sampling of every row."""
    processors = LogitsProcessorList([_Vocabulary(vocabulary)])
    if settings.temperature == 0:
        return processors
    processors.append(TemperatureLogitsWarper(float(settings.temperature)))
    if settings.top_k > 0:
        processors.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        processors.append(TopPLogitsWarper(settings.top_p))
    uniforms = [
        np.random.default_rng(stream_seed(seed, row.id)).random(settings.max_new_tokens) for row, seed in zip(rows, seeds, strict=True)
    ]
    exact = device if device.type == "cuda" else torch.device("cpu")  # Apple's GPUs have no float64
    processors.append(RowSampler(torch.tensor(np.stack(uniforms), device=exact), width))
    return processors


class _Vocabulary(LogitsProcessor):
    """No answer holds a class beyond the tokenizer's vocabulary (rows that only pad the matrix)."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (
            scores
            if scores.shape[1] == self.vocabulary
            else scores.index_fill(1, torch.arange(self.vocabulary, scores.shape[1], device=scores.device), -torch.inf)
        )
