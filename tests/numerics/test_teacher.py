"""The teacher from disk is the teacher: same logits, same loss, same gradient; a row that is not the one cached is
refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from srd.config import Engine, Method
from srd.distillation.cached import CachedTeacher, load_head, save_head
from srd.distillation.divergences import DIVERGENCES
from srd.distillation.fidelity import Fidelity, check_fidelity, check_finite, roundoff
from srd.distillation.loss import distillation
from srd.distillation.records import record_of
from srd.distillation.schedules import PhaseLoss
from srd.distillation.teacher import OnlineTeacher
from srd.errors import UserError
from srd.models.heads import head_logits, hidden_at, logits_at
from srd.stages.cache import build
from srd.text.batches import collate
from srd.text.encoding import Encoded
from tests.small import encoded, model

HEADS = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True}),
    ("gpt2", {}),
    ("gemma2", {}),
    ("cohere", {}),
    ("gpt_neox", {}),
    ("phi", {}),
]


@pytest.mark.parametrize(("kind", "more"), HEADS)
def test_logits_from_the_head_alone_are_the_model_s(tmp_path: Path, kind: str, more: dict[str, Any]) -> None:
    net, batch = model(kind, **more), collate(encoded(6), 0)
    save_head(net, tmp_path)
    rebuilt = head_logits(load_head(tmp_path, torch.device("cpu")), hidden_at(net, batch), 300)
    torch.testing.assert_close(rebuilt, logits_at(net, batch, 300), rtol=0, atol=0)


def built(folder: Path, net: Any, rows: list[Encoded], dtype: str, max_tokens: int = 40) -> Path:
    """A cache of `rows`, as the stage makes it."""
    record = record_of({"width": 16, "dtype": dtype}, 300)
    build(net, rows, folder, record, Engine(micro_batch_tokens=max_tokens), 0, 300)
    return folder


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.05), ("float16", 0.01)])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_loss_and_its_gradient_are_those_of_the_live_teacher(
    tmp_path: Path, name: str, dtype: str, tolerance: float
) -> None:
    teacher, rows = model(seed=1), encoded(8)
    cache = CachedTeacher(built(tmp_path, teacher, rows, dtype), 300, torch.device("cpu"))
    losses, gradients = [], []
    for signal in (OnlineTeacher(teacher, 300), cache):
        student = model(seed=2).requires_grad_(True)
        loss = distillation(signal, Method(divergence=name), 300)(
            student, collate(rows[2:6], 0), PhaseLoss(1.7, 0.2)
        ).loss
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) <= 5 * tolerance


def test_the_teacher_reads_without_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(*arguments: Any) -> torch.Tensor:
        seen.append(hidden_at(*arguments))
        return seen[-1]

    monkeypatch.setattr("srd.stages.cache.hidden_at", spy)
    built(tmp_path, model(seed=1).requires_grad_(True), encoded(8), "float32")
    assert len(seen) > 1
    assert not any(states.requires_grad for states in seen)


def test_shards_hold_every_position_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srd.distillation.shards.SHARD_BYTES", 16 * 4 * 9)
    rows = encoded(8)
    cache = CachedTeacher(built(tmp_path, model(seed=1), rows, "float32"), 300, torch.device("cpu"))
    assert len(cache.shards) > 2
    assert sum(len(shard) for shard in cache.shards) == sum(len(row.response) for row in rows)
    for order in (rows, rows[::-1], rows[3:5]):
        batch = collate(order, 0)
        torch.testing.assert_close(
            cache.target(cache.states(batch)), logits_at(model(seed=1), batch, 300), rtol=1e-5, atol=1e-5
        )


def test_a_row_with_other_tokens_or_unknown_is_refused(tmp_path: Path) -> None:
    rows = encoded(4)
    cache = CachedTeacher(built(tmp_path, model(seed=1), rows, "float32"), 300, torch.device("cpu"))
    other = Encoded(rows[0].id, rows[0].prompt, [*rows[0].response[:-1], 7], False)
    with pytest.raises(UserError, match=f"sample {rows[0].id} has other tokens there"):
        cache.states(collate([other], 0))
    moved = Encoded(rows[1].id, [*rows[1].prompt, rows[1].response[0]], rows[1].response[1:], False)
    with pytest.raises(UserError, match="has other tokens there"):
        cache.states(collate([moved], 0))
    with pytest.raises(UserError, match="sample ffff is not in it"):
        cache.states(collate([Encoded("ffff", [2], [3, 1], False)], 0))


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float16", 4.9e-4), ("bfloat16", 3.2e-2)])
def test_a_cache_that_is_less_faithful_than_its_type_is_refused(dtype: str, bound: float) -> None:
    unit = roundoff(dtype, model(), Engine())
    mend = "use teacher.signal=online" if dtype == "float32" else "use teacher.dtype=float32, or teacher.signal=online"
    assert unit == {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    assert roundoff("float32", model(), Engine(precision="bfloat16")) == 2.0**-8, "the coarsest decides"
    check_fidelity(Fidelity(0.95 * bound), unit, dtype)
    for kl in (1.1 * bound, float("nan"), float("inf")):
        with pytest.raises(UserError, match=f"teacher.dtype={dtype}: .*{mend}"):
            check_fidelity(Fidelity(kl), unit, dtype)


@pytest.mark.parametrize("value", [1e5, float("nan"), float("inf")])
def test_states_that_a_type_cannot_hold_are_refused_wherever_they_are(value: float) -> None:
    hidden = torch.ones(9, 4)
    check_finite(hidden, hidden.half(), torch.float16)
    hidden[7, 2] = value
    expected = (
        "teacher.dtype=float16: cannot hold" if value == 1e5 else "model.teacher: its hidden states are not finite"
    )
    with pytest.raises(UserError, match=expected):
        check_finite(hidden, hidden.half(), torch.float16)
