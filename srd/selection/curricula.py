"""Curricula: which samples each phase sees, in which order. Pure functions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from srd.config import Curriculum
from srd.errors import UserError


def none(ids: list[str], settings: Curriculum) -> list[list[str]]:
    """One phase with every sample: plain distillation."""
    return [ids]


def one_pass(ids: list[str], settings: Curriculum) -> list[list[str]]:
    """Disjoint subsets, easy to hard: every sample is in one phase (One Pass, Bengio et al. 2009).

    Without sizes they are equal; where they cannot be, they differ by one.
    """
    if settings.phases > len(ids):
        raise UserError(
            f"curriculum.phases={settings.phases}: more phases than samples ({len(ids)}); lower it or raise filter.keep"
        )
    sizes = settings.sizes or [1 / settings.phases] * settings.phases
    # Rounded up, but not for the noise of adding floats: 0.1 + 0.1 + 0.1 of ten samples is 3.0000000000000004.
    borders = [0, *(math.ceil(len(ids) * share - 1e-6) for share in accumulate(sizes))]
    subsets = [ids[low:high] for low, high in pairwise(borders)]
    if not all(subsets):
        raise UserError(
            f"curriculum.sizes={settings.sizes}: a subset of {len(ids)} samples is empty; "
            "use larger shares or more data"
        )
    return subsets


def baby_step(ids: list[str], settings: Curriculum) -> list[list[str]]:
    """Cumulative subsets, easy to hard: phase t sees the first t + 1 (SRD, arXiv 2508.06135; Spitkovsky et al.
    2010)."""
    return [ids[:end] for end in accumulate(len(subset) for subset in one_pass(ids, settings))]


def reversed_order(ids: list[str], settings: Curriculum) -> list[list[str]]:
    """Cumulative subsets, hard to easy: SRD's ablation of the order."""
    return baby_step(ids[::-1], settings)


def random_order(ids: list[str], settings: Curriculum) -> list[list[str]]:
    """Cumulative subsets in a seeded random order: the control of the curriculum, free of the ranking."""
    order = np.random.default_rng(settings.seed).permutation(len(ids))
    by_id = sorted(ids)  # the order in which they came is the ranking's
    return baby_step([by_id[i] for i in order], settings)


def mixed(ids: list[str], settings: Curriculum) -> list[list[str]]:
    """Each phase sees its own subset and a seeded `replay` share of all earlier ones."""
    phases: list[list[str]] = []
    earlier: list[str] = []
    for number, subset in enumerate(one_pass(ids, settings)):
        order = np.random.default_rng([settings.seed, number]).permutation(len(earlier))
        replayed = sorted(order[: round(settings.replay * len(earlier))])  # easy to hard, as the subset is
        phases.append([*(earlier[i] for i in replayed), *subset])
        earlier = earlier + subset
    return phases


@dataclass(frozen=True)
class Rule:
    """A curriculum and the settings that it reads; others never reach it, because they are not in its fingerprint."""

    function: Callable[[list[str], Curriculum], list[list[str]]]
    reads: tuple[str, ...] = ("sizes",)
    """Fields of the config section `curriculum`, besides `phases`."""

    def __call__(self, ids: list[str], settings: Curriculum) -> list[list[str]]:
        """The samples of every phase, from the samples, easiest first."""
        read = {name: getattr(settings, name) for name in self.reads}
        return self.function(ids, Curriculum(phases=settings.phases, **read))


CURRICULA: dict[str, Rule] = {
    "none": Rule(none, ()),
    "baby_step": Rule(baby_step),
    "one_pass": Rule(one_pass),
    "reversed": Rule(reversed_order),
    "random_order": Rule(random_order, ("sizes", "seed")),
    "mixed": Rule(mixed, ("sizes", "replay", "seed")),
}
"""Curricula by name."""
