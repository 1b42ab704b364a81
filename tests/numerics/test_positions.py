"""Selected positions: signals, policies, and the loss at what they choose."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srd.config import Engine, Method, Positions, Recipe
from srd.distillation.choosing import Chooser, StepView
from srd.distillation.divergences import DIVERGENCES
from srd.distillation.loss import distillation
from srd.distillation.schedules import PhaseLoss
from srd.distillation.selective import selective_distillation
from srd.distillation.teacher import OnlineTeacher
from srd.models.heads import logits_at
from srd.selection.importance import IMPORTANCE, Known
from srd.selection.positions import POLICIES, chances, choose, drawn, mass, quota
from srd.text.batches import collate, pack
from srd.text.encoding import Encoded
from srd.training.step import Updater
from tests.small import encoded, model, random_logits, training


def signals_by_hand(logp: torch.Tensor, logq: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The formulas of the paper's table in float64, a position and a class at a time."""
    found: dict[str, list[float]] = {}
    for p, q, y in zip(logp.exp().tolist(), logq.exp().tolist(), labels.tolist(), strict=True):
        log = np.log
        entropy = {name: -sum(x * log(x) for x in d) for name, d in (("student", q), ("teacher", p))}
        kl, reverse = (
            sum(a * log(a / b) for a, b in zip(p, q, strict=True)),
            sum(b * log(b / a) for a, b in zip(p, q, strict=True)),
        )
        values = {
            "student_entropy": entropy["student"],
            "teacher_entropy": entropy["teacher"],
            "student_nll": -log(q[y]),
            "teacher_nll": -log(p[y]),
            "forward_kl": kl,
            "reverse_kl": reverse,
            "nll_ratio": log(q[y]) / log(p[y]),
            "nll_ratio_plus_entropy": log(q[y]) / log(p[y]) + entropy["student"],
            "kl_plus_entropy": kl + entropy["student"],
            "entropy_times_kl": kl * entropy["student"],
            "hellinger": (0.5 * sum((a**0.5 - b**0.5) ** 2 for a, b in zip(p, q, strict=True))) ** 0.5,
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}


def test_signals_are_the_papers_formulas() -> None:
    logp, logq = (random_logits(seed, 7, 31, dtype=torch.float64).log_softmax(-1) for seed in (1, 2))
    labels, places = torch.arange(7) * 3, torch.arange(7)
    uniform = torch.linspace(0, 0.9, 7)
    by_hand = signals_by_hand(logp, logq, labels)
    by_hand |= {"early": -places.double(), "random": uniform.double()}
    assert by_hand.keys() == IMPORTANCE.keys()
    assert len(IMPORTANCE) == 13
    for name, entry in IMPORTANCE.items():
        known = Known(
            labels, places, uniform, logq if entry.student else None, logp if entry.teacher else None
        )  # no more than it says it reads
        torch.testing.assert_close(entry(known).double(), by_hand[name])
        if not entry.whole and entry.teacher:
            kept = (by_hand["teacher_entropy"], by_hand["teacher_nll"])
            from_kept = Known(labels, places, uniform, logq, stored=kept)
            torch.testing.assert_close(entry(from_kept).double(), by_hand[name])


def test_a_class_without_a_chance_adds_nothing_to_a_signal() -> None:
    logits = random_logits(1, 4, 9)
    logits[:, 3] = -torch.inf
    logp, labels = logits.log_softmax(-1), torch.zeros(4, dtype=torch.long)
    found = {name: entry(Known(labels, labels, logp[:, 0], logp, logp)) for name, entry in IMPORTANCE.items()}
    assert all(bool(values.isfinite().all()) for values in found.values())
    assert float(found["forward_kl"].abs().max()) == 0


@pytest.mark.parametrize("share", [0.001, 0.2, 0.35, 1.0])
def test_top_takes_exactly_its_quota_the_largest_and_of_equal_ones_the_first(share: float) -> None:
    settings = Positions(policy="top", share=share)
    for length in range(1, 40):
        values = np.floor(np.random.default_rng(length).random(length) * 5).astype(np.float32)
        chosen = POLICIES["top"]
        count = max(1, int(np.ceil(np.round(share * length, 9))))
        assert quota(length, share) == mass(length, settings, 0.0) == count
        places = choose(values, settings, 0.0, None).places.tolist()
        best = sorted(range(length), key=lambda i: (-values[i], i))[:count]
        assert places == sorted(best)
    assert chosen.reads == ("signal", "share", "quota")


def test_a_window_slides_from_the_smallest_values_to_the_largest() -> None:
    settings, values = Positions(policy="window", share=0.3, slide=0.5), np.arange(10, dtype=np.float32)
    found = [choose(values, settings, done, None).places.tolist() for done in (0.0, 0.25, 0.5, 1.0)]
    assert found == [[0, 1, 2], [3, 4, 5], [7, 8, 9], [7, 8, 9]]


def test_a_band_lies_between_its_percentiles() -> None:
    values = np.arange(20, dtype=np.float32)
    assert choose(values, Positions(policy="band", band=[0.7, 0.8]), 0, None).places.tolist() == [14, 15]
    assert choose(values, Positions(policy="band", band=[0.0, 1.0]), 0, None).places.tolist() == list(range(20))
    for length, low, high in itertools.product(range(1, 12), (0.0, 0.5, 0.95), (0.96, 1.0)):
        settings = Positions(policy="band", band=[low, high])
        places = choose(np.arange(length, dtype=np.float32), settings, 0, None).places
        assert 1 <= len(places) == mass(length, settings, 0) <= length


def test_drawn_positions_estimate_both_losses_without_bias() -> None:
    """By enumeration of all draws: of the loss over all positions, and of the loss weighted by the signal."""
    values, losses, draws = np.array([0.5, 2.0, 0.0, 1.0]), np.array([3.0, 1.0, 4.0, 1.5]), 2
    chance = chances(values)
    assert chance.sum() == pytest.approx(1)
    assert chance.min() > 0
    middles = np.cumsum(chance) - chance / 2  # a number that draws each position
    expected = {True: losses.sum() / len(losses), False: (chance * losses).sum()}
    cases = 0
    for unbiased in (True, False):
        settings = Positions(policy="sampled", share=draws / len(values), unbiased=unbiased)
        mean = 0.0
        for picks in itertools.product(range(len(values)), repeat=draws):
            chosen = drawn(chance, middles[list(picks)], unbiased)
            assert chosen.places.tolist() == list(picks)
            weight = np.prod(chance[list(picks)])
            mean += weight * (chosen.weights * losses[chosen.places]).sum() / mass(len(values), settings, 0)
            cases += 1
        assert mean == pytest.approx(expected[unbiased])
    assert cases == 2 * 16


def step_of(rows: list[Encoded], net: Any, number: int = 3, done: float = 0.4, tokens: int = 1000) -> StepView:
    def batches(some: list[Encoded]) -> Any:
        return (collate(part, 0) for part in pack(some, tokens))

    return StepView(net, number, done, rows, batches, torch.no_grad)


def chooser(teacher: Any, **settings: Any) -> Chooser:
    return Chooser(Positions(**settings), OnlineTeacher(teacher, 300), 300, 5)


def loss_and_gradient(
    settings: dict[str, Any], rows: list[Encoded], tokens: int = 1000, side: str = "right", alpha: float = 0.3
) -> tuple[float, torch.Tensor]:
    """Mean loss of a step and its gradient, with the step cut into micro-batches of so many tokens."""
    teacher, student = model(seed=1), model(seed=2).requires_grad_(True)
    chosen, divergence = chooser(teacher, **settings), "forward_kl"
    if settings["policy"] == "split":
        divergence = "decoupled_kl"
    objective = selective_distillation(
        chosen.teacher, Method(divergence=divergence), chosen, 300, Engine(loss_positions=7)
    )
    chosen.begin(step_of(rows, student))
    count, total = sum(row.num_supervised for row in rows), 0.0
    for part in pack(rows, tokens):
        loss = objective(student, collate(part, 0, side), PhaseLoss(1.5, alpha)).loss / count
        loss.backward()
        total += float(loss.detach())
    return total, torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])


EVERY = [
    {"policy": "all"},
    *({"policy": name, "share": 0.4} for name in POLICIES if name != "all"),
    {"policy": "top", "share": 0.4, "quota": "step"},
    {"policy": "sampled", "share": 0.4, "unbiased": True},
    {"policy": "top", "share": 0.4, "weight": "teacher_entropy"},
    {"policy": "adaptive", "share": 0.4, "signal": "hellinger", "cooling": 0.5},
    {"policy": "all", "signal": "student_entropy", "cooling": 1.0},
    *({"policy": "top", "share": 0.4, "signal": name} for name in IMPORTANCE),
]


@pytest.mark.parametrize("settings", EVERY, ids=lambda each: " ".join(map(str, each.values())))
@pytest.mark.parametrize("places", ["all", "chosen"])
def test_neither_padding_nor_the_cut_of_a_step_changes_a_choice(settings: dict[str, Any], places: str) -> None:
    rows, settings = encoded(7), {**settings, "cross_entropy": places}
    value, gradient = loss_and_gradient(settings, rows)
    for tokens, side in ((1, "right"), (30, "left")):
        other, its = loss_and_gradient(settings, rows, tokens, side)
        assert other == pytest.approx(value, rel=1e-5)
        torch.testing.assert_close(its, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", ["all", "top", "window", "adaptive"])
@pytest.mark.parametrize("places", ["all", "chosen"])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_share_of_one_is_plain_distillation(policy: str, places: str, alpha: float) -> None:
    rows = encoded(7)
    value, gradient = loss_and_gradient({"policy": policy, "share": 1.0, "cross_entropy": places}, rows, alpha=alpha)
    student, count = model(seed=2).requires_grad_(True), sum(row.num_supervised for row in rows)
    plain = distillation(OnlineTeacher(model(seed=1), 300), Method(divergence="forward_kl"), 300, Engine())
    loss = plain(student, collate(rows, 0), PhaseLoss(1.5, alpha)).loss / count
    loss.backward()
    assert value == pytest.approx(float(loss.detach()), rel=1e-6)
    expected = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


def test_the_loss_is_the_mean_over_the_chosen_positions_by_hand() -> None:
    rows, net, teacher = encoded(5), model(seed=2).requires_grad_(False), model(seed=1).requires_grad_(False)
    batch = collate(rows, 0)
    logp, logq = (logits_at(each, batch, 300).double().log_softmax(-1) for each in (teacher, net))
    entropy = -(logq.exp() * logq).sum(-1)
    kd, ce = DIVERGENCES["forward_kl"](logp, logq), -logq.gather(1, batch.labels.unsqueeze(1)).squeeze(1)
    keep, start = [], 0
    for row in rows:
        count = int(np.ceil(0.4 * row.num_supervised - 1e-9))
        keep += (entropy[start : start + row.num_supervised].topk(count).indices + start).tolist()
        start += row.num_supervised
    assert 0 < len(keep) < len(kd)
    expected = {"chosen": 0.3 * ce[keep].mean() + 0.7 * kd[keep].mean(), "all": 0.3 * ce.mean() + 0.7 * kd[keep].mean()}
    for places, value in expected.items():
        chosen = chooser(teacher, policy="top", share=0.4, cross_entropy=places)
        chosen.begin(step_of(rows, net))
        loss = selective_distillation(chosen.teacher, Method(divergence="forward_kl"), chosen, 300)
        assert float(loss(net, batch, PhaseLoss(1.0, 0.3)).loss / len(kd)) == pytest.approx(float(value), rel=1e-5)


def test_a_signal_that_reads_no_teacher_asks_it_for_the_chosen_positions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    target = OnlineTeacher.target

    def spy(self: OnlineTeacher, states: torch.Tensor) -> torch.Tensor:
        asked.append(len(states))
        return target(self, states)

    monkeypatch.setattr(OnlineTeacher, "target", spy)
    rows = encoded(7)
    every, chosen = sum(row.num_supervised for row in rows), sum(quota(row.num_supervised, 0.4) for row in rows)
    assert chosen < every
    counts = {}
    for name in IMPORTANCE:
        asked.clear()
        loss_and_gradient({"policy": "top", "share": 0.4, "signal": name}, rows)
        counts[name] = sum(asked)
    assert counts == {name: chosen + (every if entry.teacher else 0) for name, entry in IMPORTANCE.items()}


def trained(folder: Path, settings: dict[str, Any], rows: list[Encoded], steps: int, begin: int = 0) -> torch.Tensor:
    """The weights after some steps, with the state saved after each."""
    student, choose = model(seed=2).requires_grad_(True), chooser(model(seed=1), **settings)
    run = training(folder, student, Recipe(learning_rate=1e-2), Engine(device="cpu", loss_positions=7), chooser=choose)
    objective = selective_distillation(choose.teacher, Method(divergence="forward_kl"), choose, 300)
    assert run.state.counters.step == begin
    for step in range(begin, steps):
        run.updater.step(rows[step % 2 :: 2], objective, PhaseLoss(1.0, 0.2), step / steps)
        run.state.save()
    return torch.cat([p.detach().flatten() for p in student.parameters()])


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": "threshold", "share": 0.3, "history": 30},
        {"policy": "adaptive", "share": 0.5, "loss_tolerance": 1e-4, "signal": "hellinger"},
        {"policy": "sampled", "share": 0.3},
        {"policy": "top", "share": 0.3, "signal": "random"},
    ],
    ids=lambda each: str(each["policy"]),
)
def test_what_a_policy_remembers_survives_a_kill(tmp_path: Path, settings: dict[str, Any]) -> None:
    rows = encoded(8)
    straight = trained(tmp_path / "a", settings, rows, 6)
    trained(tmp_path / "b", settings, rows, 3)
    continued = trained(tmp_path / "b", settings, rows, 6, begin=3)
    assert torch.equal(straight, continued)
    assert not torch.equal(straight, trained(tmp_path / "c", {**settings, "policy": "all"}, rows, 6))


def test_what_was_chosen_is_counted_and_not_what_it_stands_for() -> None:
    rows, net = encoded(8), model(seed=2)
    every, quotas = sum(row.num_supervised for row in rows), sum(quota(row.num_supervised, 0.3) for row in rows)
    counts = {
        ("sampled", True): quotas, ("sampled", False): quotas, ("top", False): quotas, ("split", False): every,
    }  # fmt: skip
    for (policy, unbiased), expected in counts.items():
        chosen = chooser(model(seed=1), policy=policy, share=0.3, unbiased=unbiased)
        for number in range(2):
            chosen.begin(step_of(rows, net, number))
            chosen.end(1.0)
        assert chosen.chosen_positions == 2 * expected
        assert chosen.scale == (1.0 if unbiased else every / expected)


def test_a_threshold_is_the_percentile_of_what_came_before_the_step() -> None:
    rows, net = encoded(8), model(seed=2)
    chosen = chooser(model(seed=1), policy="threshold", share=0.25, history=40)
    count = sum(row.num_supervised for row in rows)
    assert count < 40 <= 2 * count
    values = []
    for number in range(3):
        view = step_of(rows, net, number)
        chosen.begin(view)
        values = chosen._values_of_step(view)
        total = count / chosen.scale
        if number < 2:  # not filled yet: each sequence's own share
            assert total == sum(quota(row.num_supervised, 0.25) for row in rows)
    before = [*np.concatenate(values), *np.concatenate(values)][-40:]
    threshold = np.quantile(np.array(before, dtype=np.float32), 0.75)
    assert total == sum(int((part > threshold).sum()) for part in values)
    chosen.begin(step_of(rows, net, 2))
    assert len(chosen.history) == 40
    assert count / chosen.scale == total, "a step that begins anew chooses the same"


def test_the_adaptive_share_follows_the_smoothed_loss() -> None:
    rows, net = encoded(4), model(seed=2)
    chosen = chooser(model(seed=1), policy="adaptive", share=0.5, loss_tolerance=0.05)
    chosen.begin(step_of(rows, net))
    shares = []
    for loss in [1.0] * 3 + [0.0] * 12 + [3.0] * 12:
        chosen.end(loss)
        shares.append(chosen.current.share)
    assert shares[2] == 0.5
    assert min(shares) < 0.5
    assert shares[-1] > min(shares)
    assert all(0.1 <= share <= 1 for share in shares)


def test_updates_do_not_depend_on_how_a_step_is_cut(tmp_path: Path) -> None:
    rows = encoded(8)
    found = []
    for number, tokens in enumerate((1, 40, 1000)):
        student, choose = (
            model(seed=2).requires_grad_(True),
            chooser(model(seed=1), policy="top", quota="step", share=0.3),
        )
        engine = Engine(device="cpu", micro_batch_tokens=tokens, loss_positions=5)
        run = training(tmp_path / str(number), student, Recipe(), engine, chooser=choose)
        assert isinstance(run.updater, Updater)
        objective = selective_distillation(choose.teacher, Method(divergence="forward_kl"), choose, 300, engine)
        row = run.updater.step(rows, objective, PhaseLoss(1.0, 0.2), 0.0)
        assert row["train/chosen_share"] == pytest.approx(
            quota(count := sum(r.num_supervised for r in rows), 0.3) / count
        )
        found.append((row["train/loss_nats"], row["train/gradient_norm"]))
    np.testing.assert_allclose(found, [found[0]] * 3, rtol=1e-5)
