"""Schedules: the loss settings of every phase, the learning rate of every step. Pure functions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from srd.config import Ramp, Schedule
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


def schedule(phases: list[dict[str, Value]]) -> list[Settings]:
    """The loss settings of every phase, from its `phase_values`."""
    return [_at(phase["temperature"], phase["sft_weight"]) for phase in phases]


def _at(temperature: Value, sft_weight: Value) -> Settings:
    return lambda share: PhaseLoss(_value(temperature, share), _value(sft_weight, share))


def _value(setting: Value, share: float) -> float:
    """The setting after a share of all steps."""
    if isinstance(setting, list):
        first, last = setting
        return first + (last - first) * share
    return setting


def phase_values(settings: Schedule, phases: int) -> list[dict[str, Value]]:
    """`temperature` and `sft_weight` of every phase (SRD: τ 1 → 2 and α 0.3 → 0.1, linear over phases)."""
    temperatures = _values(settings.temperature, phases, "schedule.temperature")
    sft_weights = _values(settings.sft_weight, phases, "schedule.sft_weight")
    return [{"temperature": t, "sft_weight": a} for t, a in zip(temperatures, sft_weights, strict=True)]


def _values(ramp: Ramp, phases: int, key: str) -> list[Value]:
    """The values of one setting by phase; a single phase has the start."""
    if ramp.values is not None:
        if len(ramp.values) != phases:
            raise UserError(f"{key}.values={ramp.values}: expected one value for each of {phases} phases")
        return [ramp.values[0]] * phases if ramp.by == "constant" else list(ramp.values)
    start, end = ramp.line
    if ramp.by == "step":
        return [[start, end]] * phases
    if ramp.by == "constant" or phases == 1:
        return [start] * phases
    return [start + (end - start) * phase / (phases - 1) for phase in range(phases)]


def cosine(step: int, steps: int, start: float, end: float, warmup_steps: int) -> float:
    """Learning rate of update `step` (0-based) of `steps`: linear warm-up, then a cosine from `start` to `end`."""
    if step < warmup_steps:
        return start * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
