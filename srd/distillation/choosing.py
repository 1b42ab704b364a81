"""Which positions of every step are distilled, and what their sum is divided by.

Axes: N supervised positions of a batch, n chosen ones.

A choice depends on the step, its rows and the models, never on how the step is cut: a policy that looks at one
sequence chooses inside the micro-batch, whose student is computed anyway; one that looks at all sequences of a step
has a pass of its own before.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from srd.config import Positions
from srd.distillation.signals import signals_at
from srd.distillation.teacher import TeacherSignal
from srd.models.heads import head_logits, hidden_at
from srd.runtime import processes
from srd.runtime.progress import say_once
from srd.selection.draws import row_numbers
from srd.selection.importance import IMPORTANCE
from srd.selection.positions import (
    POLICIES,
    Chosen,
    Share,
    asked,
    choose,
    factors,
    mass,
    num_chosen,
    over_percentile,
    top_of_step,
)
from srd.text.batches import Batch, longest_last
from srd.text.encoding import Encoded


@dataclass(frozen=True)
class StepView:
    """A step before it is cut."""

    model: nn.Module
    number: int
    done: float
    """Share of all steps that lie behind, in [0, 1]."""
    rows: list[Encoded]
    """All rows, on every process."""
    batches: Callable[[list[Encoded]], Iterator[Batch]]
    """Rows as padded batches on the device."""
    autocast: Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class ChosenPositions:
    """Positions of a batch, by number among its N."""

    index: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]
    hard: Float[Tensor, " n"] | None = None
    """One where a position is hard, zero where it is easy; none: the policy does not tell them apart."""
    warmth: Float[Tensor, " n"] | None = None
    """By what the temperature is multiplied; none: by one."""


@dataclass
class Chooser:
    """Chooses positions, step after step; what it remembers is saved with the weights."""

    settings: Positions
    teacher: TeacherSignal
    vocabulary: int
    chunk: int
    """Positions whose logits exist at once."""

    def __post_init__(self) -> None:
        self.policy = POLICIES[self.settings.policy]
        self.step: StepView | None = None
        self.scale = 1.0
        """Supervised positions of the step for each unit of chosen weight: the sum over chosen positions, times this,
        divided by all supervised positions, is the mean over the chosen ones."""
        self.num_chosen = 0
        """Positions that are chosen in the step."""
        self.chosen_positions = 0
        """All that were chosen so far, for the ledger."""
        self.share = Share(self.settings.share)
        self.history: list[float] = []
        """The last values of a policy that remembers, as they were before this step, and with those of this step."""
        self._history_after: list[float] = []
        self._chosen: dict[int, Chosen] = {}

    def begin(self, step: StepView) -> None:
        """Get ready for a step, or for the same step anew."""
        if self.step is None or self.step.number != step.number:
            self.history = self._history_after
        self.step, settings = step, self.current
        if self.policy.remembers or settings.quota == "step":
            self._chosen = self._choose_together(step)
            total = self.num_chosen = sum(len(chosen.places) for chosen in self._chosen.values())
        else:
            lengths = [row.num_supervised for row in step.rows]
            total = sum(mass(length, settings, step.done) for length in lengths)
            self.num_chosen = sum(num_chosen(length, settings, step.done) for length in lengths)
        self.scale = sum(row.num_supervised for row in step.rows) / total

    def end(self, loss: float) -> None:
        """Take note of the step's mean divergence."""
        self.chosen_positions += self.num_chosen
        if self.policy.adapts:
            self.share = self.share.after(loss, self.settings.loss_tolerance)

    @property
    def current(self) -> Positions:
        """The settings with the share of the moment."""
        return replace(self.settings, share=self.share.share)

    def of(
        self, batch: Batch, student: nn.Module, hidden: Float[Tensor, "N H"], states: Shaped[Tensor, "N W"]
    ) -> ChosenPositions:
        """The chosen positions of a batch."""
        # What has chosen in a pass of its own is not asked for twice.
        names = asked(replace(self.settings, policy="all") if self._chosen else self.settings)
        values = self.values(names, batch, student, hidden, states) if names else {}
        cools, lengths = self.settings.cooling > 0, [row.num_supervised for row in batch.rows]
        starts = np.cumsum([0, *lengths[:-1]])
        pieces: list[tuple[np.ndarray, ...]] = []
        for row, start, length in zip(batch.rows, starts, lengths, strict=True):
            own = {name: every[start : start + length] for name, every in values.items()}
            chosen = self._chosen.get(id(row)) or self._choose(row, own)
            hard = chosen.hard if chosen.hard is not None else np.ones(len(chosen.places), dtype=bool)
            warmth = factors(own[self.settings.signal], self.settings.cooling)[chosen.places] if cools else hard
            pieces.append((chosen.places + start, self._weighted(chosen, own), hard, warmth))
        index, *parts = (torch.from_numpy(np.concatenate(part)).to(hidden.device) for part in zip(*pieces, strict=True))
        weights, hard, warmth = (part.float() for part in parts)
        return ChosenPositions(index, weights, hard if self.policy.tells_apart else None, warmth if cools else None)

    @torch.no_grad()
    def values(
        self,
        names: list[str],
        batch: Batch,
        student: nn.Module,
        hidden: Float[Tensor, "N H"],
        states: Shaped[Tensor, "N W"],
    ) -> dict[str, Float[np.ndarray, " N"]]:
        """The signals at every position of a batch, by name."""
        reads_seed = any(IMPORTANCE[name].drawn for name in names)
        found = signals_at(
            names,
            batch,
            lambda chunk: head_logits(student, hidden[chunk], self.vocabulary),
            lambda chunk: self.teacher.target(states[chunk]),
            self.chunk,
            self._uniform(batch) if reads_seed else None,
        )
        # One wait for the device a micro-batch: the choice itself is made on the processor.
        return dict(zip(names, found.float().cpu().numpy(), strict=True))

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON can hold it."""
        remembered = {"history": self._history_after, "chosen_positions": self.chosen_positions}
        return {**remembered, "share": asdict(self.share)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._history_after, self.chosen_positions = state["history"], state["chosen_positions"]
        self.share, self.step = Share(**state["share"]), None

    def _choose(self, row: Encoded, values: dict[str, np.ndarray]) -> Chosen:
        """The positions of one sequence, by its values alone."""
        settings, length, done = self.current, row.num_supervised, self._step.done
        draws = self._numbers(row, num_chosen(length, settings, done)) if self.policy.is_drawn else None
        signal = values[settings.signal] if "signal" in self.policy.reads else np.zeros(length, dtype=np.float32)
        return choose(signal, settings, done, draws)

    def _weighted(self, chosen: Chosen, values: dict[str, np.ndarray]) -> Float[np.ndarray, " n"]:
        """The weights of the chosen positions of one sequence: their mean stays what it is, whatever signal weighs."""
        if self.settings.weight is None:
            return chosen.weights
        signal = np.clip(values[self.settings.weight][chosen.places].astype(np.float64), 0, None)
        return chosen.weights * (signal / signal.mean() if signal.sum() > 0 else 1)

    def _choose_together(self, step: StepView) -> dict[int, Chosen]:
        """The positions of all sequences of a step, from a pass of the student over it: by the row's identity."""
        parts, settings = self._values_of_step(step), self.settings
        if not self.policy.remembers:
            chosen = top_of_step(parts, settings.share)
        else:
            values = [value for part in parts for value in part.tolist()]
            self._history_after = [*self.history, *values][-settings.history :]
            if len(self.history) == settings.history:
                chosen = over_percentile(parts, self.history, settings.share)
            else:
                say_once(
                    f"selection.positions.policy={settings.policy}: until {settings.history} values are known, the "
                    f"largest {100 * settings.share:g} % of each sequence are chosen"
                )
                chosen = [choose(part, settings, step.done, None) for part in parts]
        return {id(row): each for row, each in zip(step.rows, chosen, strict=True)}

    @torch.no_grad()
    def _values_of_step(self, step: StepView) -> list[Float[np.ndarray, " L"]]:
        """The signal at every position of every row of a step, in their order, whoever computed them."""
        whole = longest_last(step.rows)
        mine, signal = processes.share(whole), self.settings.signal
        by_row: dict[int, list[float]] = {}
        for batch in step.batches(mine) if mine else ():
            with step.autocast():
                states, hidden = self.teacher.states(batch), hidden_at(step.model, batch)
                values = self.values([signal], batch, step.model, hidden, states)[signal]
            ends = np.cumsum([row.num_supervised for row in batch.rows])[:-1]
            by_row |= {id(row): part.tolist() for row, part in zip(batch.rows, np.split(values, ends), strict=True)}
        merged = processes.merged([by_row[id(row)] for row in mine])
        every = {id(row): np.array(values, dtype=np.float32) for row, values in zip(whole, merged, strict=True)}
        return [every[id(row)] for row in step.rows]

    @property
    def _step(self) -> StepView:
        assert self.step is not None, "begin comes before"
        return self.step

    def _numbers(self, row: Encoded, count: int, what: str = "") -> Float[np.ndarray, " count"]:
        # Step 0 is that of draws which last for all steps.
        return row_numbers(self.settings.seed, self._step.number + 1, row.id + what, count)

    def _uniform(self, batch: Batch) -> Float[Tensor, " N"]:
        each = [self._numbers(row, row.num_supervised, " places") for row in batch.rows]
        return torch.from_numpy(np.concatenate(each)).to(batch.labels.device)
