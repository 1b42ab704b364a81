"""Answers depend on the prompt and the row's seed, not on the batch around it."""

import pytest
import torch

from srd.config import Engine, Generation
from srd.distillation.reference import reference_nll
from srd.generation.answerer import answer
from srd.generation.sampling import draw
from srd.models.heads import logits_at
from srd.text.batches import collate
from tests.small import encoded, model, tokenizer

SAMPLING = Generation(temperature=1.0, max_new_tokens=6)
GREEDY = Generation(temperature=0.0, max_new_tokens=6)
ENGINE = Engine()
FEW = Engine(generation_sequences=3, micro_batch_tokens=7)
"""Fewer places than rows, and prompts that are read in parts."""


def test_greedy_is_the_library_greedy() -> None:
    net, row = model(), encoded()[2]
    theirs = net.generate(
        input_ids=torch.tensor([row.prompt]), max_new_tokens=6, do_sample=False, eos_token_id=1, pad_token_id=0
    )
    given = answer(net, [row], tokenizer(), GREEDY, [10], ENGINE)[0]
    ids = theirs[0, len(row.prompt) :].tolist()
    assert given.text == tokenizer().decode(ids, skip_special_tokens=True).strip()


def test_the_seed_decides_a_sampled_answer() -> None:
    net, rows = model(), encoded()
    first, again, other = (answer(net, rows, tokenizer(), SAMPLING, [seed] * 8, ENGINE) for seed in (10, 10, 20))
    assert first == again
    assert first != other


def test_sampling_follows_the_distribution() -> None:
    draws = 4000
    scores = torch.tensor([1.0, -torch.inf, 2.0, 0.0, -1.0])
    uniforms = torch.rand(draws, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chosen = draw(scores.expand(draws, -1), uniforms)
    shares = torch.bincount(chosen, minlength=5) / draws
    expected = torch.softmax(scores, -1)
    assert shares[1] == 0
    assert torch.all((shares - expected).abs() < 4 * (expected * (1 - expected) / draws).sqrt() + 1e-6)


def test_an_answer_without_eos_is_cut_and_one_with_it_is_not() -> None:
    net, rows = model(), encoded()
    with torch.no_grad():
        net.get_output_embeddings().weight[1] = 0.0
    cut = answer(net, rows, tokenizer(), GREEDY, [1] * 8, ENGINE)
    assert all(given.cut and given.tokens == 6 for given in cut)
    # Every id is a stop id now: each answer ends with its first token.
    net.generation_config.eos_token_id = list(range(300))
    ended = answer(net, rows, tokenizer(), GREEDY, [1] * 8, ENGINE)
    assert all(not given.cut and given.tokens == 1 and given.text == "" for given in ended)


def test_no_ngram_repeats_where_that_is_asked() -> None:
    net, rows = model(), encoded()
    long = Generation(temperature=0.0, max_new_tokens=40, no_repeat_ngram_size=2)
    sequences = net.generate(
        input_ids=torch.tensor([rows[0].prompt]),
        max_new_tokens=40,
        do_sample=False,
        eos_token_id=1,
        pad_token_id=0,
        no_repeat_ngram_size=2,
    )
    theirs = tokenizer().decode(sequences[0, len(rows[0].prompt) :], skip_special_tokens=True).strip()
    assert answer(net, rows[:1], tokenizer(), long, [1], ENGINE)[0].text == theirs


def test_reference_nll_is_the_mean_over_response_and_eos() -> None:
    net, rows = model(), encoded()
    together = reference_nll(net, [*rows, rows[0]], tokenizer(), Engine(micro_batch_tokens=20, loss_positions=3))[
        : len(rows)
    ]
    for row, nll in zip(rows, together, strict=True):
        batch = collate([row], 0)
        logp = torch.log_softmax(logits_at(net, batch, len(tokenizer())).detach().double(), -1)
        expected = -logp[torch.arange(len(row.response)), torch.tensor(row.response)].mean()
        assert nll == pytest.approx(float(expected), rel=1e-4)
