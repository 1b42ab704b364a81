"""The order of the data: which rows a step of a phase has, drawn from (seed, phase, epoch) alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from srd.config import Recipe
from srd.distillation.loss import Objective
from srd.distillation.schedules import PhaseLoss, Settings
from srd.text.encoding import Encoded


@dataclass
class PhaseWork:
    """One phase to train: its samples, its loss, and that loss's settings by share of all steps done."""

    rows: list[Encoded]
    objective: Objective
    settings: Settings = lambda share: PhaseLoss()
    shuffled: bool = True
    prefetch: Callable[[list[Encoded]], None] = lambda rows: None
    """Told the next step's rows while this one is computed."""


@dataclass(frozen=True)
class PhaseOrder:
    """The rows of every step of one phase."""

    work: PhaseWork
    recipe: Recipe
    phase: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.work.rows) / self.recipe.batch_sequences)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.recipe.epochs

    def rows(self, phase_step: int) -> list[Encoded]:
        """The rows of a step (0-based in the phase); the last step of an epoch takes what is left."""
        epoch, index = divmod(phase_step, self.steps_per_epoch)
        rows = self.work.rows
        size = self.recipe.batch_sequences
        seeded = epoch_order(len(rows), self.recipe.seed, self.phase, epoch)
        order = seeded if self.work.shuffled else list(range(len(rows)))
        return [rows[i] for i in order[index * size : (index + 1) * size]]

    def upcoming(self, phase_step: int, steps: int) -> list[list[Encoded]]:
        """The rows of a step and of those after it, `steps` in all or up to the end of the phase."""
        return [self.rows(step) for step in range(phase_step, min(self.steps, phase_step + steps))]


# Asked once a step for the same epoch, and at an epoch's end for the next one as well.
@lru_cache(maxsize=4)
def epoch_order(num_rows: int, seed: int, phase: int, epoch: int) -> list[int]:
    """The seeded order of the samples in one epoch."""
    return np.random.default_rng([seed, phase, epoch]).permutation(num_rows).tolist()


def num_steps(phases: list[int], recipe: Recipe) -> int:
    """Optimiser steps of phases with so many samples each."""
    return sum(math.ceil(rows / recipe.batch_sequences) * recipe.epochs for rows in phases)


def tokens_before(phases: list[PhaseWork], recipe: Recipe, phase: int, phase_step: int, dev_tokens: int = 0) -> int:
    """Tokens of the data of all steps before a step of a phase, with `dev_tokens` for the end of every epoch."""
    found = 0
    for number, work in enumerate(phases[: phase + 1]):
        order = PhaseOrder(work, recipe, number)
        steps = order.steps if number < phase else phase_step
        epochs = steps // order.steps_per_epoch
        found += epochs * (sum(row.num_tokens for row in work.rows) + dev_tokens)
        begun = range(epochs * order.steps_per_epoch, steps)
        found += sum(row.num_tokens for step in begun for row in order.rows(step))
    return found
