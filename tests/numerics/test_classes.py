"""A teacher's distribution by some of its classes: drawn or the most probable ones, on disk and in the loss."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srd.config import Classes, Engine, Method
from srd.distillation.cached import CachedTeacher
from srd.distillation.divergences import DIVERGENCES
from srd.distillation.fidelity import check_fidelity, compare
from srd.distillation.loss import distillation, losses_at
from srd.distillation.records import Record, id_width, record_of
from srd.distillation.schedules import PhaseLoss
from srd.distillation.sparse import sparse_divergence_at
from srd.errors import UserError
from srd.models.heads import head_logits, hidden_at, logits_at
from srd.selection.classes import SparseTarget, collapsed, counted, draw, log_rest
from srd.selection.draws import row_numbers
from srd.stages.cache import build
from srd.text.batches import collate
from srd.text.encoding import Encoded
from tests.small import encoded, model, random_logits


def test_drawn_classes_estimate_the_forward_kl_and_its_gradient_without_bias() -> None:
    """By enumeration of all draws over a small vocabulary."""
    draws, size = 3, 4
    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    student = torch.tensor([0.2, -0.4, 1.0, 0.1], dtype=torch.float64, requires_grad=True)
    middles = p.cumsum(0) - p / 2
    entropy = -(p * p.log()).sum().reshape(1)
    mean, cases = torch.zeros((), dtype=torch.float64), 0
    for picks in itertools.product(range(size), repeat=draws):
        ids = draw(p.unsqueeze(0), middles[list(picks)].unsqueeze(0))
        assert ids.tolist() == [list(picks)]
        kept, counts = counted(ids, draws)
        target = SparseTarget(kept, (counts.double() / draws).log(), 1.0, entropy, (entropy, entropy), drawn=True)
        value = sparse_divergence_at(target, student.log_softmax(-1).unsqueeze(0), "forward_kl")
        mean = mean + p[list(picks)].prod() * value.sum()
        cases += 1
    assert cases == 64
    whole = DIVERGENCES["forward_kl"](p.log(), student.log_softmax(-1))
    assert float(mean.detach()) == pytest.approx(float(whole.detach()), rel=1e-12)
    expected = torch.autograd.grad(whole, student)[0]
    torch.testing.assert_close(torch.autograd.grad(mean, student)[0], expected, rtol=1e-9, atol=1e-12)


def test_the_mean_gradient_of_many_draws_is_the_whole_distribution_s() -> None:
    teacher, logits = random_logits(1, 1, 31), random_logits(2, 1, 31).requires_grad_(True)
    logp = teacher.log_softmax(-1)
    uniform = torch.from_numpy(np.random.default_rng(0).random((1, 40_000)))
    ids, counts = counted(draw(logp.exp(), uniform), 31)
    entropy = -(logp.exp() * logp).sum(-1)
    target = SparseTarget(ids, (counts.float() / 40_000).log(), 1.0, entropy, (entropy, entropy), drawn=True)
    found = torch.autograd.grad(sparse_divergence_at(target, logits.log_softmax(-1), "forward_kl").sum(), logits)[0]
    whole = torch.autograd.grad(DIVERGENCES["forward_kl"](logp, logits.log_softmax(-1)).sum(), logits)[0]
    assert float((found - whole).abs().max()) < 4 / 200  # four standard errors of a share, 1 / (2 √40,000) each


def test_counts_keep_the_classes_drawn_most_often_and_lose_the_rest_only_where_slots_are_few() -> None:
    ids = torch.tensor([[7, 3, 7, 9, 3, 7], [5, 5, 5, 5, 5, 5]])
    kept, counts = counted(ids, 6)
    assert kept[:, :3].tolist() == [[7, 3, 9], [5, 0, 0]]
    assert counts.tolist() == [[3, 2, 1, 0, 0, 0], [6, 0, 0, 0, 0, 0]]
    assert counts.sum(1).tolist() == [6, 6]
    assert counted(ids, 2)[1].tolist() == [[3, 2], [6, 0]]


@pytest.mark.parametrize("name", [name for name, entry in DIVERGENCES.items() if not entry.reads_labels])
def test_the_most_probable_classes_bound_the_divergence_from_below_and_all_of_them_are_it(name: str) -> None:
    teacher, logits = (random_logits(seed, 6, 31, dtype=torch.float64) for seed in (1, 2))
    logp, logq = teacher.log_softmax(-1), logits.log_softmax(-1)
    whole = DIVERGENCES[name](logp, logq)
    before = torch.zeros(6, dtype=torch.float64)
    for count in (1, 5, 20, 30, 31):
        logs, ids = logp.topk(count)
        rest = log_rest(logp, ids)
        mass = logs.exp().sum(-1) + (rest.exp() if rest is not None else 0)
        torch.testing.assert_close(mass, torch.ones(6, dtype=torch.float64))  # nothing is renormalised away
        assert (rest is None) == (count == 31)
        target = SparseTarget(ids, logs, 1.0, whole, (whole, whole), drawn=False, rest=rest)
        value = sparse_divergence_at(target, logq, name)
        same = sparse_divergence_at(target, logp, name)
        assert bool((value >= before - 1e-9).all()), "a finer cut tells more apart"
        assert bool((value <= whole + 1e-9).all())
        assert float(same.abs().max()) < 1e-12
        before = value
    torch.testing.assert_close(before, whole)


def test_the_rest_of_a_sure_prediction_is_a_number() -> None:
    logits = torch.zeros(2, 50)
    logits[:, 0] = 60.0
    logq = logits.requires_grad_(True).log_softmax(-1)
    parts = collapsed(logq, torch.zeros(2, 1, dtype=torch.long))
    assert float(parts[0, 1].detach()) == pytest.approx(-60 + np.log(49), rel=1e-5)
    assert bool(torch.autograd.grad(parts.sum(), logits)[0].isfinite().all())


@pytest.mark.parametrize(("vocabulary", "width"), [(300, 2), (65_536, 2), (65_537, 3), (151_936, 3)])
def test_ids_are_as_wide_as_the_vocabulary_needs(vocabulary: int, width: int) -> None:
    """17 bits would alias 151,643 to 20,571 (Qwen3)."""
    record = record_of({"signal": "top", "classes": {"count": 2}}, vocabulary)
    assert id_width(vocabulary) == width
    logits = torch.zeros(3, vocabulary)
    largest = [vocabulary - 1, vocabulary - 1 - vocabulary // 7]
    logits[:, largest[0]], logits[:, largest[1]] = 9.0, 8.0
    batch = collate([Encoded("00", [2], [3, 4, 1], False)], 0)
    target = record.unpack(record.pack(torch.zeros(3, 1), lambda chunk: logits[chunk], batch, 2))
    assert isinstance(target, SparseTarget)
    assert target.ids.tolist() == [largest] * 3
    torch.testing.assert_close(target.logs, logits.log_softmax(-1)[:, largest], rtol=0, atol=0)


def test_a_vocabulary_that_three_bytes_cannot_count_is_refused() -> None:
    with pytest.raises(UserError, match=r"16777217 classes: expected at most 16777216; use teacher.signal=hidden"):
        id_width((1 << 24) + 1)


RECORDS: dict[str, dict[str, Any]] = {
    "float8": {"width": 16, "dtype": "float8"},
    "sampled": {"signal": "sampled", "classes": {"draws": 200, "slots": 200}},
    "sampled, few slots": {"signal": "sampled", "classes": {"draws": 20, "slots": 3, "temperature": 2.0}},
    "top": {"signal": "top", "classes": {"count": 12, "temperature": 2.0}},
    "all of them": {"signal": "top", "classes": {"count": 400}},
}


def cached(folder: Path, layout: dict[str, Any], max_tokens: int = 40) -> CachedTeacher:
    record = record_of(layout, 300)
    build(model(seed=1), encoded(8), folder, record, Engine(micro_batch_tokens=max_tokens, loss_positions=5), 0, 300)
    return CachedTeacher(folder, 300, torch.device("cpu"))


@pytest.mark.parametrize("name", RECORDS)
def test_a_cache_holds_what_the_live_teacher_gives_wherever_its_rows_were(tmp_path: Path, name: str) -> None:
    layout, rows, teacher = RECORDS[name], encoded(8), model(seed=1)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = cached(tmp_path / "a", layout), cached(tmp_path / "b", layout, max_tokens=1)
    bytes_each = one.record.width * one.record.dtype.itemsize
    stored = sum(path.stat().st_size for path in (tmp_path / "a").glob("states-*"))
    assert stored == bytes_each * sum(row.num_supervised for row in rows)
    for some in (rows, rows[::-1], rows[3:5]):
        batch = collate(some, 0)
        hidden = hidden_at(teacher, batch)
        live = record_of(one.record.layout, 300).pack(
            hidden, lambda chunk, hidden=hidden: head_logits(teacher, hidden[chunk], 300), batch, 100
        )
        for cache in (one, two):
            found, expected = cache.target(cache.states(batch)), _target(cache, live)
            if isinstance(found, SparseTarget):
                assert isinstance(expected, SparseTarget)
                assert torch.equal(found.ids, expected.ids)
                torch.testing.assert_close(found.logs, expected.logs)
                torch.testing.assert_close(found.entropy, expected.entropy)
            else:
                assert not isinstance(expected, SparseTarget)
                torch.testing.assert_close(found, expected)


def _target(cache: CachedTeacher, kept: torch.Tensor) -> Any:
    return cache.target(kept)


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_said_of_a_cache_is_true_of_it(tmp_path: Path, name: str) -> None:
    rows, teacher, layout = encoded(8), model(seed=1).requires_grad_(False), RECORDS[name]
    cache = cached(tmp_path, layout)
    found = compare(teacher, cache, rows, 0, 300, Engine())
    batch = collate(rows, 0)
    logp = logits_at(teacher, batch, 300).double().log_softmax(-1)
    target = cache.target(cache.states(batch))
    if not isinstance(target, SparseTarget):
        assert found.kl == pytest.approx(
            float(DIVERGENCES["forward_kl"](logp, target.double().log_softmax(-1)).detach().mean()), rel=1e-4
        )
        assert 1e-5 < found.kl < 0.1
        return
    check_fidelity(found, 2.0**-24, "float32")
    with pytest.raises(UserError, match="stored entropies are off by"):
        check_fidelity(compare(model(seed=3), cache, rows, 0, 300, Engine()), 2.0**-24, "float32")
    tempered = (logp / layout["classes"].get("temperature", 1.0)).log_softmax(-1)
    kept = [
        sum(float(tempered[i, id].exp()) for id, log in zip(ids, logs, strict=True) if log > -torch.inf)
        for i, (ids, logs) in enumerate(zip(target.ids.tolist(), target.logs.tolist(), strict=True))
    ]
    assert found.kept == pytest.approx(np.mean(kept), rel=1e-5)
    assert found.drawn == (layout["signal"] == "sampled")
    if name == "all of them":
        assert found.kl == pytest.approx(0, abs=1e-6)
        assert found.kept == pytest.approx(1)


@pytest.mark.parametrize("name", ["top", "all of them", "sampled"])
def test_the_loss_from_classes_is_what_they_say_and_all_of_them_are_the_live_teacher(tmp_path: Path, name: str) -> None:
    cache, rows = cached(tmp_path, RECORDS[name]), encoded(8)
    tau = RECORDS[name]["classes"].get("temperature", 1.0)
    student = model(seed=2).requires_grad_(True)
    method = Method(divergence="forward_kl")
    batch = collate(rows, 0)
    loss = distillation(cache, method, 300, Engine(loss_positions=7))(student, batch, PhaseLoss(tau, 0.2)).loss
    loss.backward()
    target, logits = cache.target(cache.states(batch)), logits_at(student, batch, 300)
    kd, ce = losses_at(target, logits, batch.labels, "forward_kl", tau, 2)
    assert float(loss.detach()) == pytest.approx(float((0.2 * ce + 0.8 * kd).sum().detach()), rel=1e-5)
    whole, _ = losses_at(logits_at(model(seed=1), batch, 300), logits, batch.labels, "forward_kl", tau, 2)
    gap = float((kd - whole).mean().detach()), float(whole.mean().detach())
    if name == "all of them":
        assert abs(gap[0]) < 1e-5 * gap[1]
    elif name == "top":
        assert -gap[1] < gap[0] < 0
    else:  # unbiased, over 39 positions of 200 draws each
        assert abs(gap[0]) < 0.2 * gap[1]


def test_classes_of_one_temperature_are_no_target_at_another(tmp_path: Path) -> None:
    cache, batch = cached(tmp_path, RECORDS["top"]), collate(encoded(4), 0)
    loss = distillation(cache, Method(divergence="forward_kl"), 300)
    assert float(loss(model(seed=2), batch, PhaseLoss(2.0, 0.0)).loss.detach()) > 0
    with pytest.raises(AssertionError, match="stored at one temperature"):
        loss(model(seed=2), batch, PhaseLoss(1.0, 0.0))


def test_draws_depend_on_the_row_and_the_seed_alone() -> None:
    first = row_numbers(1, 0, "ab", 3, 4)
    assert np.array_equal(first, row_numbers(1, 0, "ab", 3, 4))
    for other in ((2, 0, "ab"), (1, 1, "ab"), (1, 0, "ac")):
        assert not np.array_equal(first, row_numbers(*other, 3, 4))
    assert isinstance(record_of(RECORDS["sampled"], 300), Record)


def test_64_draws_of_a_large_vocabulary_take_a_sixtieth_of_float32_states() -> None:
    sampled = record_of({"signal": "sampled", "classes": vars(Classes())}, 151_936)
    assert sampled.width * sampled.dtype.itemsize == 64 * 4 + 16
    assert 4096 * 4 / (sampled.width * sampled.dtype.itemsize) >= 60
