"""Which positions of every step are distilled, and what their sum is divided by.

Axes: N supervised positions of a batch, n chosen ones.

A choice depends on the step, its rows and the models, never on how the step is cut: a policy that looks at one
sequence chooses inside the micro-batch, whose student is computed anyway; one that looks at all sequences of a step
has a pass of its own before.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from srd.config import Positions
from srd.distillation.loss import log_probabilities
from srd.distillation.teacher import TeacherSignal
from srd.models.heads import head_logits, hidden_at
from srd.runtime import processes
from srd.runtime.progress import say_once
from srd.selection.classes import SparseTarget
from srd.selection.draws import row_numbers
from srd.selection.importance import IMPORTANCE, Known
from srd.selection.positions import (
    ADAPTIVE_STEP,
    LEAST_SHARE,
    MEMORY,
    POLICIES,
    Chosen,
    asked,
    choose,
    factors,
    mass,
    num_chosen,
    quota,
    ranked,
)
from srd.text.batches import Batch
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
    history: list[float] = field(default_factory=list)
    """The last values of `threshold`, as they were before this step."""
    share: float | None = None
    """Of `adaptive`."""
    mean_loss: float | None = None
    reference_loss: float | None = None
    chosen_positions: int = 0
    """All that were chosen so far, for the ledger."""

    def __post_init__(self) -> None:
        self.step: StepView | None = None
        self.scale = 1.0
        """Supervised positions of the step for each unit of chosen weight: the sum over chosen positions, times this,
        divided by all supervised positions, is the mean over the chosen ones."""
        self.num_chosen = 0
        """Positions that are chosen in the step."""
        self._chosen: dict[int, Chosen] = {}
        self._next = self.history

    def begin(self, step: StepView) -> None:
        """Get ready for a step, or for the same step anew."""
        if self.step is None or self.step.number != step.number:
            self.history = self._next
        self.step = step
        settings = self.current
        if POLICIES[settings.policy].whole_step or settings.quota == "step":
            self._chosen = self._choose_together(step)
            total = self.num_chosen = sum(len(chosen.places) for chosen in self._chosen.values())
        else:
            total = sum(mass(row.num_supervised, settings, step.done) for row in step.rows)
            self.num_chosen = sum(num_chosen(row.num_supervised, settings, step.done) for row in step.rows)
        self.scale = sum(row.num_supervised for row in step.rows) / total

    def end(self, loss: float) -> None:
        """Take note of the step's mean divergence."""
        self.chosen_positions += self.num_chosen
        if self.settings.policy == "adaptive":
            self._adapt(loss)

    @property
    def current(self) -> Positions:
        """The settings with the share of the moment."""
        return self.settings if self.share is None else replace(self.settings, share=self.share)

    def of(
        self, batch: Batch, student: nn.Module, hidden: Float[Tensor, "N H"], states: Shaped[Tensor, "N W"]
    ) -> ChosenPositions:
        """The chosen positions of a batch."""
        assert self.step is not None, "begin comes before"
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
        tells_apart = self.settings.policy == "split"
        return ChosenPositions(index, weights, hard if tells_apart else None, warmth if cools else None)

    @torch.no_grad()
    def values(
        self,
        names: list[str],
        batch: Batch,
        student: nn.Module,
        hidden: Float[Tensor, "N H"],
        states: Shaped[Tensor, "N W"],
    ) -> dict[str, Float[np.ndarray, " N"]]:
        """The signals at every position; of a model's logits, `chunk` positions exist at a time, and those of a model
        that no signal reads do not."""
        entries, device = {name: IMPORTANCE[name] for name in names}, batch.labels.device
        places = torch.cat([torch.arange(row.num_supervised) for row in batch.rows]).to(device)
        uniform = self._uniform(batch).to(device) if any(entry.drawn for entry in entries.values()) else None
        reads_student = any(entry.student for entry in entries.values())
        reads_teacher = any(entry.teacher for entry in entries.values())
        found: dict[str, list[Tensor]] = {name: [] for name in entries}
        for start in range(0, len(batch.labels), self.chunk):
            chunk = slice(start, start + self.chunk)
            known = Known(batch.labels[chunk], places[chunk], uniform[chunk] if uniform is not None else None)
            if reads_student:
                logits = head_logits(student, hidden[chunk], self.vocabulary)
                known = replace(known, logq=log_probabilities(logits, 1.0))
            if reads_teacher:
                known = replace(known, **_of_teacher(self.teacher.target(states[chunk])))
            for name, entry in entries.items():
                found[name].append(entry(known).cpu())
        return {name: torch.cat(parts).float().numpy() for name, parts in found.items()}

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON can hold it."""
        return {
            "history": self._next,
            "share": self.share,
            "mean_loss": self.mean_loss,
            "reference_loss": self.reference_loss,
            "chosen_positions": self.chosen_positions,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)
        self._next, self.step = self.history, None

    def _choose(self, row: Encoded, values: dict[str, np.ndarray]) -> Chosen:
        """The positions of one sequence, by its values alone."""
        assert self.step is not None
        settings, policy = self.current, POLICIES[self.settings.policy]
        length = row.num_supervised
        uniform = self._numbers(row, quota(length, settings.share)) if policy.is_drawn else None
        signal = values[settings.signal] if "signal" in policy.reads else np.zeros(length, dtype=np.float32)
        return choose(signal, settings, self.step.done, uniform)

    def _weighted(self, chosen: Chosen, values: dict[str, np.ndarray]) -> Float[np.ndarray, " n"]:
        """The weights of the chosen positions of one sequence: their mean stays what it is, whatever signal weighs."""
        if self.settings.weight is None:
            return chosen.weights
        signal = np.clip(values[self.settings.weight][chosen.places].astype(np.float64), 0, None)
        return chosen.weights * (signal / signal.mean() if signal.sum() > 0 else 1)

    def _choose_together(self, step: StepView) -> dict[int, Chosen]:
        """The positions of all sequences of a step, from a pass of the student over it: by the row's identity."""
        parts = self._values_of_step(step)
        flat = np.concatenate(parts)
        if self.settings.policy == "threshold":
            chosen = self._over_threshold(parts, flat)
        else:
            # In the order of the step's rows, whoever computed them: of equal values the earlier row's is chosen.
            keep = np.zeros(len(flat), dtype=bool)
            keep[ranked(flat, 0, quota(len(flat), self.settings.share)).places] = True
            chosen = [where(part) for part in np.split(keep, np.cumsum([len(part) for part in parts])[:-1])]
        return {id(row): each for row, each in zip(step.rows, chosen, strict=True)}

    @torch.no_grad()
    def _values_of_step(self, step: StepView) -> list[Float[np.ndarray, " L"]]:
        """The signal at every position of every row of a step."""
        whole = longest_last(step.rows)
        mine = processes.share(whole)
        by_row: dict[int, list[float]] = {}
        for batch in step.batches(mine) if mine else ():
            with step.autocast():
                states, hidden = self.teacher.states(batch), hidden_at(step.model, batch)
                values = self.values([self.settings.signal], batch, step.model, hidden, states)[self.settings.signal]
            ends = np.cumsum([row.num_supervised for row in batch.rows])[:-1]
            by_row |= {id(row): part.tolist() for row, part in zip(batch.rows, np.split(values, ends), strict=True)}
        merged = processes.merged([by_row[id(row)] for row in mine])
        every = {id(row): np.array(values, dtype=np.float32) for row, values in zip(whole, merged, strict=True)}
        return [every[id(row)] for row in step.rows]

    def _over_threshold(self, parts: list[np.ndarray], flat: np.ndarray) -> list[Chosen]:
        """Positions whose value is over the percentile of those before this step (global-level selection, GLS);
        each sequence's own share until as many are known as are to be remembered."""
        settings = self.settings
        self._next = [*self.history, *flat.tolist()][-settings.history :]
        if len(self.history) < settings.history:
            say_once(
                f"selection.positions.policy=threshold: until {settings.history} values are known, the largest "
                f"{100 * settings.share:g} % of each sequence are chosen"
            )
            return [ranked(part, 0, quota(len(part), settings.share)) for part in parts]
        threshold = np.quantile(np.array(self.history, dtype=np.float32), 1 - settings.share)
        # A step without any position would have no loss: then the largest value is chosen.
        threshold = min(threshold, np.nextafter(flat.max(), -np.inf, dtype=np.float32))
        return [where(part > threshold) for part in parts]

    def _adapt(self, loss: float) -> None:
        """AdaKD's focusing (arXiv 2510.11615): a smaller share after the smoothed loss has fallen, a larger one after
        it has risen."""
        share, tolerance = self.current.share, self.settings.loss_tolerance
        self.mean_loss = loss if self.mean_loss is None else MEMORY * self.mean_loss + (1 - MEMORY) * loss
        reference = self.mean_loss if self.reference_loss is None else self.reference_loss
        if abs(self.mean_loss - reference) > tolerance * abs(reference):
            factor = 1 - ADAPTIVE_STEP if self.mean_loss < reference else 1 + ADAPTIVE_STEP
            share = min(1.0, max(LEAST_SHARE, share * factor))
            reference = self.mean_loss
        self.share, self.reference_loss = share, reference

    def _numbers(self, row: Encoded, count: int, what: str = "") -> Float[np.ndarray, " count"]:
        assert self.step is not None
        # Step 0 is that of draws which last for all steps.
        return row_numbers(self.settings.seed, self.step.number + 1, row.id + what, count)

    def _uniform(self, batch: Batch) -> Float[Tensor, " N"]:
        return torch.from_numpy(
            np.concatenate([self._numbers(row, row.num_supervised, " places") for row in batch.rows])
        )


def longest_last(rows: list[Encoded]) -> list[Encoded]:
    """Rows in the order in which processes share them: every N-th, so that none has all the long ones."""
    return sorted(rows, key=lambda row: row.num_tokens) if processes.count() > 1 else rows


def where(keep: Bool[np.ndarray, " L"]) -> Chosen:
    """The positions where `keep` holds."""
    places = np.flatnonzero(keep)
    return Chosen(places, np.ones(len(places)))


def _of_teacher(target: Float[Tensor, "n V"] | SparseTarget) -> dict[str, Any]:
    """What a teacher's target tells the signals."""
    if isinstance(target, SparseTarget):
        return {"stored": target.known}
    return {"logp": log_probabilities(target, 1.0)}
