"""Curricula and schedules: which samples a phase sees and with which loss settings. Pure functions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from srd.config import Schedule
from srd.errors import UserError


@dataclass(frozen=True)
class PhaseLoss:
    """Loss settings of one phase: τ and the SFT weight α."""

    temperature: float
    sft_weight: float


def _at(start: float, end: float, phase: int, phases: int) -> float:
    """Linear from the first phase to the last; a single phase has the start."""
    return start if phases == 1 else start + (end - start) * phase / (phases - 1)


def schedule(settings: Schedule, phases: int) -> list[PhaseLoss]:
    """The loss settings of every phase (SRD: τ 1 → 2 and α 0.3 → 0.1, linear over phases)."""
    s = settings
    return [
        PhaseLoss(_at(s.temperature_start, s.temperature_end, i, phases), _at(s.sft_weight_start, s.sft_weight_end, i, phases))
        for i in range(phases)
    ]


def none(ids: list[str], phases: int) -> list[list[str]]:
    """One phase with every sample: plain distillation."""
    return [ids]


def baby_step(ids: list[str], phases: int) -> list[list[str]]:
    """Cumulative subsets, easy to hard: phase t sees the first t + 1 of `phases` equal parts.

    Where the parts cannot be equal the earlier ones are one larger (SRD, arXiv 2508.06135; Baby Step of
    Spitkovsky et al. 2010).
    """
    if phases > len(ids):
        raise UserError(f"curriculum.phases={phases}: more phases than samples ({len(ids)}); lower it or raise filter.keep")
    return [ids[: math.ceil(len(ids) * (phase + 1) / phases)] for phase in range(phases)]


CURRICULA: dict[str, Callable[[list[str], int], list[list[str]]]] = {"none": none, "baby_step": baby_step}


def cosine(step: int, steps: int, start: float, end: float, warmup_steps: int) -> float:
    """Learning rate of update `step` (0-based) of `steps`: linear warm-up, then a cosine from `start` to `end`."""
    if step < warmup_steps:
        return start * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
