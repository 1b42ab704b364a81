"""Prompts end where responses begin: ids, masks, limits and packing."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from srd.config import Model, Side
from srd.stages.tokenizer import train_bpe
from srd.store.rows import Sample, sample_id
from srd.text.batches import BATCH_SHARE, pack, position_ids_of
from srd.text.encoding import Encoded, encode, encode_all, eos_id, text_of
from srd.text.prompts import TEMPLATES
from tests.small import encoded, texts, tokenizer


def pair(template: str = "plain", max_prompt_tokens: int = 40, max_tokens: int = 80) -> Model:
    side = Side(name="x")
    return Model(
        teacher=side, student=side, template=template, max_prompt_tokens=max_prompt_tokens, max_tokens=max_tokens
    )


def sample(instruction: str = "Describe it", input: str = "", output: str = "small red thing") -> Sample:
    return Sample(sample_id(instruction, input, output), instruction, input, output, "train")


def test_prompt_and_response_are_the_text_and_eos_is_a_target() -> None:
    row = encode(sample(), tokenizer(), pair())
    assert tokenizer().decode(row.prompt) == "Describe it\n=>\n"
    assert text_of(row.response, tokenizer()) == "small red thing"
    assert row.response[-1] == eos_id(tokenizer())


def test_of_a_long_prompt_the_tail_stays_and_the_count_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    rows = encode_all([sample("word " * 200), sample()], tokenizer(), pair("alpaca", 20, 60))
    assert [row.prompt_was_cut for row in rows] == [True, True]
    assert tokenizer().decode(rows[0].prompt).endswith("### Response:\n")
    assert len(rows[0].prompt) == 20
    assert "2 of 2 prompts are over model.max_prompt_tokens=20" in capsys.readouterr().err


def test_a_long_response_is_cut_without_eos() -> None:
    row = encode(sample(output="thing " * 100), tokenizer(), pair(max_tokens=50))
    assert row.num_tokens == 50
    assert row.response[-1] != eos_id(tokenizer())


def test_the_input_block_appears_only_with_an_input() -> None:
    without, with_input = (TEMPLATES["alpaca"](sample(input=text), tokenizer()) for text in ("", "more"))
    assert "### Input:" not in without
    assert "### Input:\nmore\n\n### Response:\n" in with_input


def test_positions_count_from_the_first_token_whatever_the_padding() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1]])
    assert position_ids_of(mask).tolist() == [[0, 1, 2, 2], [0, 0, 0, 1]]


def test_packing_keeps_every_row_once_and_the_budget() -> None:
    rows = encoded(40)
    batches = pack(rows, 30)
    assert sorted(row.id for batch in batches for row in batch) == sorted(row.id for row in rows)
    assert all(len(batch) == 1 or len(batch) * max(row.num_tokens for row in batch) <= 30 for batch in batches)
    assert len(batches) > 5


@pytest.mark.parametrize("max_tokens", [30, 200, 600, 5000])
def test_no_other_cut_of_the_sorted_rows_pads_less(max_tokens: int) -> None:
    """Against every way to cut twelve rows, a batch counting as a share of the largest."""
    chance = np.random.default_rng(max_tokens)
    rows = [
        Encoded(f"{i:016x}", [2] * int(length), [3, 1], False) for i, length in enumerate(chance.integers(1, 180, 12))
    ]
    lengths = sorted((row.num_tokens for row in rows), reverse=True)

    def cost(sizes: list[tuple[int, int]]) -> float:
        return sum(first * count + max_tokens / BATCH_SHARE for first, count in sizes)

    ways = []
    for borders in range(2**11):
        cuts = [0, *(i + 1 for i in range(11) if borders >> i & 1), 12]
        sizes = [(lengths[low], high - low) for low, high in pairwise(cuts)]
        if all(first * count <= max_tokens or count == 1 for first, count in sizes):
            ways.append(cost(sizes))
    packed = [(max(row.num_tokens for row in batch), len(batch)) for batch in pack(rows, max_tokens)]
    assert cost(packed) == min(ways)
    assert len(ways) > 1 or max_tokens == 30


def test_a_trained_vocabulary_is_the_same_for_the_same_texts() -> None:
    first, again = (train_bpe(texts(), 320).get_vocab() for _ in range(2))
    assert first == again
    assert len(first) == 320
