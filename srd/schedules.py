"""Curricula and schedules: which samples a phase sees and with which loss settings. Pure functions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from srd.config import Course, Curriculum, Schedule
from srd.errors import UserError


@dataclass(frozen=True)
class PhaseLoss:
    """Loss settings at one moment: τ and the SFT weight α; by default the loss is the references' cross-entropy
    alone."""

    temperature: float = 1.0
    sft_weight: float = 1.0


Value = float | list[float]
"""A setting of one phase: a number, or [first step's, last step's] where it moves with the steps."""

Settings = Callable[[float], PhaseLoss]
"""Loss settings of a phase, given the share of all optimiser steps that lie behind, in [0, 1]."""


def schedule(settings: Schedule, phases: int) -> list[Settings]:
    """The loss settings of every phase (SRD: τ 1 → 2 and α 0.3 → 0.1, linear over phases)."""
    return [_at(phase["temperature"], phase["sft_weight"]) for phase in plan(settings, phases)]


def _at(temperature: Value, sft_weight: Value) -> Settings:
    def value(of: Value, share: float) -> float:
        return of[0] + (of[1] - of[0]) * share if isinstance(of, list) else of

    return lambda share: PhaseLoss(value(temperature, share), value(sft_weight, share))


def plan(settings: Schedule, phases: int) -> list[dict[str, Value]]:
    """`temperature` and `sft_weight` of every phase."""
    temperatures = _course(settings.temperature, phases, "schedule.temperature")
    sft_weights = _course(settings.sft_weight, phases, "schedule.sft_weight")
    return [{"temperature": t, "sft_weight": a} for t, a in zip(temperatures, sft_weights, strict=True)]


def _course(course: Course, phases: int, key: str) -> list[Value]:
    """The values of one setting by phase; a single phase has the start."""
    if course.values is not None:
        if len(course.values) != phases:
            raise UserError(f"{key}.values={course.values}: expected one value for each of {phases} phases")
        return list(course.values)
    if course.by == "step":
        return [[course.start, course.end]] * phases
    if course.by == "constant" or phases == 1:
        return [course.start] * phases
    return [course.start + (course.end - course.start) * phase / (phases - 1) for phase in range(phases)]


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
    borders = [0, *(math.ceil(len(ids) * share - 1e-6) for share in accumulate(sizes))]
    subsets = [ids[low:high] for low, high in pairwise(borders)]
    if not all(subsets):
        raise UserError(
            f"curriculum.sizes={settings.sizes}: a subset of {len(ids)} samples is empty; use larger shares or more "
            "data"
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
    ids = sorted(ids)
    return baby_step([ids[i] for i in order], settings)


def mixed(ids: list[str], settings: Curriculum) -> list[list[str]]:
    """Each phase sees its own subset and a seeded `replay` share of all earlier ones."""
    phases, earlier = [], []
    for number, subset in enumerate(one_pass(ids, settings)):
        again = np.random.default_rng([settings.seed, number]).permutation(len(earlier))[
            : round(settings.replay * len(earlier))
        ]
        phases.append([*(earlier[i] for i in sorted(again)), *subset])
        earlier = earlier + subset
    return phases


CURRICULA: dict[str, Callable[[list[str], Curriculum], list[list[str]]]] = {
    "none": none,
    "baby_step": baby_step,
    "one_pass": one_pass,
    "reversed": reversed_order,
    "random_order": random_order,
    "mixed": mixed,
}
"""Samples, easiest first, to the samples of every phase."""

USED_SETTINGS: dict[str, tuple[str, ...]] = {
    "none": (),
    "random_order": ("sizes", "seed"),
    "mixed": ("sizes", "replay", "seed"),
}
"""Settings that a curriculum reads besides its number of phases; others read the sizes."""


def cosine(step: int, steps: int, start: float, end: float, warmup_steps: int) -> float:
    """Learning rate of update `step` (0-based) of `steps`: linear warm-up, then a cosine from `start` to `end`."""
    if step < warmup_steps:
        return start * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
