"""Encoder-decoder models: logits, losses, caches and answers are the library's, whatever shares a batch."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from srd.config import Engine, Generation
from srd.generation.answerer import answer
from srd.generation.continuation import Continuation
from srd.generation.decoding import decode
from srd.text.encoding import Encoded
from tests.seq2seq import KINDS, made, tokenizer


def prompts(count: int = 24) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    lengths = [1 + (5 * i) % 17 for i in range(count)]
    return [[*torch.randint(2, 300, (length,), generator=generator).tolist(), 1] for length in lengths]


def greedy(logits: Tensor, rows: list[Continuation]) -> Tensor:
    return logits.argmax(-1)


def by_library(net: PreTrainedModel, prompt: list[int], limit: int, stops: set[int], **more: Any) -> list[int]:
    # The library keeps as many layers as the encoder has, and fails where the decoder has more.
    options = {
        "use_cache": net.config.num_decoder_layers <= net.config.num_layers,
        "max_new_tokens": limit,
        "do_sample": False,
        "num_beams": 1,
        "eos_token_id": sorted(stops),
    }
    return net.generate(input_ids=torch.tensor([prompt]), **options, **more)[0, 1:].tolist()  # pyright: ignore


@pytest.mark.parametrize("name", KINDS)
def test_greedy_answers_are_the_library_s(name: str) -> None:
    """A few of the ids end an answer, so rows leave at different steps and others enter."""
    net, asked, stops = made(name), prompts(12), set(range(1, 60))
    expected = [by_library(net, prompt, 16, stops) for prompt in asked]
    assert len({len(ids) for ids in expected}) >= 3, "rows leave at different steps"
    for slots, max_tokens in ((1, 4096), (3, 20), (8, 64)):
        assert decode(net, asked, greedy, stops, 16, slots, max_tokens) == expected
    assert len(KINDS) == 5


def test_no_ngram_of_the_answer_repeats_and_those_of_the_prompt_may() -> None:
    net, asked = made("t5, tied"), prompts(4)
    settings = Generation(temperature=0.0, max_new_tokens=40, no_repeat_ngram_size=2)
    given = answer(
        net,
        [Encoded(f"{i:016x}", p, [1], False) for i, p in enumerate(asked)],
        tokenizer(310),
        settings,
        [1] * 4,
        Engine(),
    )
    expected = [by_library(net, prompt, 40, {1}, no_repeat_ngram_size=2) for prompt in asked]
    assert [each.ids for each in given] == expected


def test_each_prompt_is_encoded_once_for_all_its_seeds() -> None:
    net, read = made("mt5, untied"), []
    net.get_encoder().register_forward_pre_hook(  # pyright: ignore
        lambda module, args, named: read.append(int(named["attention_mask"].shape[0])), with_kwargs=True
    )
    asked = [Encoded(f"{i % 4:016x}", prompt, [1], False) for i, prompt in enumerate(prompts(4) * 5)]
    seeds = [10 * (i // 4) for i in range(20)]
    settings = Generation(temperature=0.8, top_k=50, top_p=0.95, max_new_tokens=12)
    alone = [
        answer(net, [row], tokenizer(), settings, [seed], Engine())[0] for row, seed in zip(asked, seeds, strict=True)
    ]
    for engine in (Engine(generation_sequences=20), Engine(generation_sequences=3, micro_batch_tokens=8)):
        read.clear()
        assert answer(net, asked, tokenizer(), settings, seeds, engine) == alone
        assert sum(read) == 4, "one pass a prompt, however many slots there are"
    assert len({tuple(given.ids) for given in alone}) == 20
