"""Who answers a stage's prompts: this process, or vLLM."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Engine, Generation
from srd.generation.answers import Answer, answer_of, stop_ids
from srd.generation.decoding import decode
from srd.generation.sampling import Sampler
from srd.models.device import autocast
from srd.runtime import processes
from srd.text.encoding import Encoded


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
    sampler = Sampler(settings, mine, processes.share(seeds), len(tokenizer), model.device)
    prompts = [row.prompt for row in mine]
    with autocast(model.device, engine):
        answers = decode(
            model,
            prompts,
            sampler,
            stops,
            settings.max_new_tokens,
            engine.generation_sequences,
            engine.micro_batch_tokens,
            tick,
        )
    tick(len(rows) - len(mine))
    return [answer_of(ids, stops, tokenizer) for ids in processes.merged(answers)]


Answerer = Callable[[list[Encoded], Generation, list[int], Callable[[int], None]], list[Answer]]
"""Answers rows under the decoding and seeds given, telling how many have finished."""


@contextmanager
def answerer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, engine: Engine, max_tokens: int
) -> Iterator[Answerer]:
    """Who answers for a stage whose weights stand still: this process, or vLLM where the engine says so.

    `max_tokens` is the longest prompt with its answer.
    """
    if engine.generation_backend == "vllm":
        from srd.generation.vllm import vllm_answerer

        with vllm_answerer(model, tokenizer, engine, max_tokens) as answers:
            yield answers
    else:
        yield lambda rows, settings, seeds, tick: answer(model, rows, tokenizer, settings, seeds, engine, tick)
