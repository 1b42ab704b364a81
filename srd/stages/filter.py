"""filter: the easiest (or the hardest) share λ of the ranking stays, or as many by one signal or by chance; what stays
may be weighed by the pass rate."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srd.config import PASS_RATE, Filter
from srd.errors import UserError
from srd.runtime.progress import say
from srd.selection.adaptive import RULES, Given, chosen_words
from srd.selection.ranking import ENDS, VERIFIED, chosen, easiest
from srd.selection.weights import WEIGHTS, scaled
from srd.stages import partition, rank
from srd.stages.grade import read_grades
from srd.store.artefacts import Work
from srd.store.columns import Columns, read_columns, write_columns


@dataclass
class Settings:
    """What decides who stays."""

    keep: float | str
    """λ, or auto."""
    end: str = "easiest"
    """Who stays: the easiest or the hardest."""
    weights: str | None = None
    """By what those who stay are weighed."""
    weight_powers: list[float] | None = None
    """α and β."""
    rule: str | None = None
    """What chooses λ."""
    difficulties: rank.Settings | None = None
    """The order whose difficulties the rule looks at."""
    passes: int | None = None
    """Sample passes of the distillation at most."""
    phases: partition.Settings | None = None
    """How those who stay are cut into phases."""
    epochs: int = 1
    """Epochs of every phase."""


def make(work: Work[Settings, None]) -> None:
    """Leave `selection.jsonl`: the samples that are kept, in the ranking's order, with their weights if they have
    any."""
    ranking, stays = _read(work.inputs["ranking"]), ENDS[work.settings.end]
    keep = _chosen(work, len(ranking["id"])) if isinstance(work.settings.keep, str) else work.settings.keep
    if "chooser" in work.inputs:
        ids = stays(_read(work.inputs["chooser"]), keep)["id"]
        kept = easiest(chosen(ranking, np.isin(ranking["id"], ids)), 1)
    else:
        kept = stays(ranking, keep)
    if work.settings.weights is not None:
        kept = _weighed(work, kept)
    work.leaves.add("selection.jsonl")
    write_columns(work.path / "selection.jsonl", kept)


def _chosen(work: Work[Settings, None], samples: int) -> float:
    """λ as the rule chooses it, which is said, and why, here and in the ledger."""
    settings = work.settings
    given = Given(samples)
    if settings.difficulties is not None:
        values = rank.read_difficulties(work, settings.difficulties)
        given = Given(samples, {name: column for name, column in values.items() if name != "id"})
    elif settings.passes is not None:
        given = Given(samples, passes=settings.passes, passes_of=lambda kept: _passes(settings, kept))
    found = RULES[str(settings.rule)].function(given)
    keep = found.kept / samples
    work.ledger["chosen"] = {"rule": settings.rule, "keep": keep, "kept": found.kept, "of": samples, "why": found.why}
    say(f"filter: {chosen_words(work.ledger['chosen'])}")
    return keep


def _passes(settings: Settings, kept: int) -> int:
    assert settings.phases is not None
    ids = [str(number) for number in range(kept)]
    return sum(map(len, partition.cut(ids, settings.phases))) * settings.epochs


def _weighed(work: Work[Settings, None], kept: Columns) -> Columns:
    """Those of `kept` that weigh something, with their column `weight`, of mean one; a `UserError` where none does.

    λ comes first, so that whoever trains with weights and whoever trains without choose from the same samples.
    """
    settings, grades = work.settings, read_grades(work.inputs[VERIFIED], PASS_RATE)
    rates = dict(zip(grades["id"].tolist(), grades[PASS_RATE].tolist(), strict=True))
    pass_rate = np.array([rates[id] for id in kept["id"].tolist()])
    weights = WEIGHTS[str(settings.weights)](pass_rate, settings.weight_powers or Filter().weight_powers)
    weighs, total = weights > 0, len(weights)
    dropped = total - int(weighs.sum())
    always = int((pass_rate == 1).sum())
    what = f"the student answers {always:,} of {total:,} prompts always and {dropped - always:,} never as the verifier"
    if dropped == total:
        raise UserError(
            f"filter.weights={settings.weights}: {what} wants it, which weighs nothing; raise reflect.answers, choose "
            "another rank.verifier or leave filter.weights out"
        )
    if dropped:
        say(f"filter: {what} wants it; they weigh nothing and are dropped, {total - dropped:,} stay")
    work.ledger["dropped_without_weight"] = dropped
    return {**chosen(kept, weighs), "weight": scaled(weights[weighs])}


def _read(folder: Path) -> Columns:
    return read_columns(folder / "ranking.jsonl", {"id": str, "rank": int})
