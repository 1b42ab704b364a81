"""Answers decoded in slots that rows enter and leave are those of the library, one prompt at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PreTrainedModel,
)

from srd.config import Engine, Generation
from srd.errors import UserError
from srd.generation.answerer import answer
from srd.generation.continuation import Continuation
from srd.generation.decoding import decode
from srd.generation.sampling import NoRepeat
from srd.text.encoding import Encoded
from tests.small import SIZES, model, tokenizer

KINDS: dict[str, Callable[[], PreTrainedModel]] = {
    **{kind: lambda kind=kind: model(kind) for kind in SIZES},
    "gemma2": lambda: model(
        "gemma2", final_logit_softcapping=50.0
    ),  # of the small cap the largest logits are equal in float32
    "grouped queries": lambda: model("llama", num_attention_heads=4, num_key_value_heads=2),
    "sliding window": lambda: model("mistral", sliding_window=5),
    "window in some layers": lambda: model("gemma2", sliding_window=5, final_logit_softcapping=50.0),
}


def prompts(count: int = 24) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    lengths = [2 + (5 * i) % 17 for i in range(count)]
    return [torch.randint(2, 300, (length,), generator=generator).tolist() for length in lengths]


def greedy(logits: Tensor, rows: list[Continuation]) -> Tensor:
    return logits.argmax(-1)


def by_library(net: PreTrainedModel, prompt: list[int], limit: int, stops: set[int], **more: Any) -> list[int]:
    options = {"max_new_tokens": limit, "do_sample": False, "eos_token_id": sorted(stops), "pad_token_id": 0, **more}
    return net.generate(input_ids=torch.tensor([prompt]), **options)[0, len(prompt) :].tolist()  # pyright: ignore


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_the_library_s(kind: str) -> None:
    """A few of the ids end an answer, so rows leave at different steps and others enter."""
    net, asked, stops = KINDS[kind](), prompts(), set(range(1, 80))
    expected = [by_library(net, prompt, 30, stops) for prompt in asked]
    assert len({len(ids) for ids in expected}) >= 3, "rows leave at different steps"
    for slots, max_tokens in ((1, 4096), (3, 20), (8, 64), (24, 4096), (100, 4096)):
        assert decode(net, asked, greedy, stops, 30, slots, max_tokens) == expected


def test_long_answers_outgrow_their_columns() -> None:
    net, asked = model("llama", max_position_embeddings=512), prompts(7)
    expected = [by_library(net, prompt, 200, {1}) for prompt in asked]
    assert max(len(ids) for ids in expected) == 200
    assert decode(net, asked, greedy, {1}, 200, 3, 4096) == expected


def test_equal_prompts_are_read_once() -> None:
    net, seen = model(), []
    net.register_forward_pre_hook(lambda module, args, named: seen.append(named["input_ids"].shape), with_kwargs=True)
    asked = [[5, 6, 7]] * 5 + [[8, 9]] * 5
    answers = decode(net, asked, greedy, {1}, 1, 10, 4096)
    assert seen == [(2, 3)]
    assert len(answers) == 10
    assert answers[0] == answers[4]


def test_five_seeds_of_one_prompt_draw_apart() -> None:
    net, rows = model(), [Encoded(f"{i % 4:016x}", prompt, [1], False) for i, prompt in enumerate(prompts(4) * 5)]
    settings = Generation(temperature=0.8, top_k=50, top_p=0.95, max_new_tokens=12)
    seeds = [10 * (i // 4) for i in range(20)]
    for engine in (Engine(generation_sequences=20), Engine(generation_sequences=3, micro_batch_tokens=8)):
        together = answer(net, rows, tokenizer(), settings, seeds, engine)
        alone = [
            answer(net, [row], tokenizer(), settings, [seed], Engine())[0]
            for row, seed in zip(rows, seeds, strict=True)
        ]
        assert together == alone
    assert len({tuple(given.ids) for given in together}) == 20


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_banned_ids_are_the_library_s(size: int) -> None:
    generator, processor = torch.Generator().manual_seed(2), LogitsProcessorList([NoRepeatNGramLogitsProcessor(size)])
    text, seen, banned = torch.randint(0, 3, (400,), generator=generator).tolist(), NoRepeat(size), 0
    for end in range(1, len(text) + 1):
        theirs = processor(torch.tensor([text[:end]]), torch.zeros(1, 3))[0].isinf().nonzero().flatten().tolist()  # pyright: ignore
        assert seen.followers(text[:end]) == theirs, end
        banned += len(theirs)
    assert banned > 50


def test_near_greedy_without_repeats_as_published() -> None:
    """Temperature 0.01 with no 6-gram twice is greedy search with no 6-gram twice where no two ids are near a tie."""
    net, asked = model(), prompts(6)
    with torch.no_grad():
        net.get_output_embeddings().weight *= 20  # pyright: ignore
    settings = Generation(temperature=0.01, no_repeat_ngram_size=6, max_new_tokens=60)
    rows = [Encoded(f"{i:016x}", prompt, [1], False) for i, prompt in enumerate(asked)]
    given = answer(net, rows, tokenizer(), settings, [10] * 6, Engine(generation_sequences=4))
    expected = [by_library(net, prompt, 60, {1}, no_repeat_ngram_size=6) for prompt in asked]
    assert [a.ids for a in given] == expected
    assert any(by_library(net, prompt, 60, {1}) != ids for prompt, ids in zip(asked, expected, strict=True)), (
        "a repeat was banned"
    )


def test_a_model_that_remembers_otherwise_is_refused() -> None:
    settings = AutoConfig.for_model("mamba", hidden_size=8, num_hidden_layers=1, vocab_size=300, state_size=4)
    net = AutoModelForCausalLM.from_config(settings).eval()
    with pytest.raises(UserError, match=r"MambaForCausalLM keeps .* between tokens"):
        decode(net, [[5, 6]], greedy, {1}, 2, 1, 64)
