"""The best weights: by the dev metric, between equal scores by the dev loss, by it alone where the metric is blind."""

from pathlib import Path

import pytest

from srd.config import Distill, Engine, Generation
from srd.store.rows import Sample
from srd.training import model_selection
from srd.training.model_selection import DevSet, ModelSelection
from tests.small import encoded, model, tokenizer, training

LATIN, OTHER = "the river", "река течёт"
CASES = [
    # reference, dev scores and losses of the epochs, the epoch that is best, what chose it
    (LATIN, [0.1, 0.3, 0.2], [3.0, 5.0, 4.0], 1, "rouge_l"),
    (LATIN, [0.2, 0.2, 0.2], [3.0, 2.0, 2.5], 1, "rouge_l"),
    (LATIN, [0.0, 0.0, 0.1], [1.0, 2.0, 9.0], 2, "rouge_l"),
    (OTHER, [0.0, 0.0, 0.0], [5.0, 4.0, 3.0], 2, "nll"),
    (OTHER, [0.3, 0.1, 0.0], [5.0, 4.0, 4.5], 1, "nll"),
]


@pytest.mark.parametrize(("reference", "scores", "losses", "best", "by"), CASES)
@pytest.mark.parametrize("handover", ["last", "best"])
def test_the_best_weights_are_not_chosen_by_ties(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, scores: list[float], losses: list[float],
    best: int, by: str, handover: str,
) -> None:  # fmt: skip
    assert len(CASES) == 5
    made = training(tmp_path / "out", model())
    pairs = [(Sample(row.id, "x", "", reference, "dev"), row) for row in encoded(4)]
    dev = DevSet(pairs, tokenizer(), Generation(), 0)
    selection = ModelSelection(made.state, dev, Engine(device="cpu"), Distill(handover=handover), 1)
    values = iter(zip(scores, losses, strict=True))
    now: list[float] = []
    monkeypatch.setattr(DevSet, "score", lambda *_: (now.__setitem__(slice(None), next(values)), now[0])[1])
    monkeypatch.setattr(DevSet, "loss", lambda *_: now[1])
    saved: list[int] = []
    monkeypatch.setattr(model_selection, "save_model", lambda *_: saved.append(made.state.counters.best_epoch))
    for epoch in range(3):
        selection.end_epoch(0, epoch)
    counters = made.state.counters
    assert (counters.best_epoch, saved[-1]) == (best, best)
    assert (counters.best_score, counters.best_nll) == (scores[best], losses[best])
    assert selection.selected_by == by
    if handover == "best":
        assert (counters.phase_score, counters.phase_nll) == (scores[best], losses[best])


@pytest.mark.parametrize("handover", ["last", "best"])
def test_the_dev_loss_alone_chooses_and_nothing_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handover: str
) -> None:
    made = training(tmp_path / "out", model())
    dev = DevSet([(Sample(row.id, "", "", LATIN, "dev"), row) for row in encoded(4)], tokenizer(), None, 0)
    recipe = Distill(handover=handover, select_by="nll")
    selection = ModelSelection(made.state, dev, Engine(device="cpu"), recipe, 1)
    losses = iter([3.0, 2.0, 2.5])
    monkeypatch.setattr(DevSet, "loss", lambda *_: next(losses))
    saved: list[int] = []
    monkeypatch.setattr(model_selection, "save_model", lambda *_: saved.append(made.state.counters.best_epoch))
    for epoch in range(3):
        selection.end_epoch(0, epoch)
    counters = made.state.counters
    assert saved == [0, 1]
    assert (counters.best_score, counters.best_nll, counters.best_epoch) == (None, 2.0, 1)
    assert selection.selected_by == "nll"
    assert counters.phase_nll == (2.0 if handover == "best" else None)
