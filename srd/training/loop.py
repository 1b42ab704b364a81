"""The training loop: phases of seeded steps over exact batches, saved so that a killed run goes on unchanged.

What a step does depends on (seed, phase, step) alone: the order of the data and the dropout are drawn from it, the
learning rate is computed from it.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from torch import nn

from srd.config import Engine, Recipe
from srd.distillation.choosing import Chooser
from srd.distillation.schedules import cosine
from srd.models.heads import unwrapped
from srd.runtime.clock import Clock
from srd.runtime.loggers import Log
from srd.runtime.progress import Advance
from srd.text.encoding import Encoded
from srd.training.order import PhaseOrder, PhaseWork, num_steps, tokens_before
from srd.training.state import OnPolicyData, TrainingState
from srd.training.step import AuxiliaryLoss, Updater


class Training:
    """A model under training in one artefact's folder.

    With `restarts` the learning rate and the optimiser begin anew in every phase, else they run through.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        engine: Engine,
        folder: Path,
        pad_id: int,
        log: Log,
        *,
        restarts: bool = True,
        on_policy: OnPolicyData | None = None,
        auxiliary: AuxiliaryLoss | None = None,
        clock: Clock | None = None,
        chooser: Chooser | None = None,
    ) -> None:
        if engine.gradient_checkpointing:
            unwrapped(model).gradient_checkpointing_enable({"use_reentrant": False})
        self.recipe = recipe
        self.engine = engine
        self.restarts = restarts
        self.on_policy = on_policy
        self.state = TrainingState(model, recipe, folder, log, on_policy, clock, chooser)
        self.updater = Updater(self.state, recipe, engine, pad_id, auxiliary)

    def train(
        self,
        phases: list[PhaseWork],
        advance: Advance,
        end_epoch: Callable[[int, int], None] = lambda phase, epoch: None,
        end_phase: Callable[[int], None] = lambda phase: None,
        dev_tokens: int = 0,
    ) -> None:
        """Train every phase from where the counters stand; the callbacks run once each, also across kills.

        `advance` hears the tokens of every step's data, and the `dev_tokens` that `end_epoch` goes through.
        """
        counters = self.state.counters
        total_steps = num_steps([len(phase.rows) for phase in phases], self.recipe)
        while counters.phase < len(phases):
            order = PhaseOrder(phases[counters.phase], self.recipe, counters.phase)
            self._train_phase(order, total_steps, advance, end_epoch, dev_tokens)
            end_phase(counters.phase)
            counters.phase += 1
            counters.phase_step = 0
            counters.phase_score = counters.phase_nll = None
            if self.restarts:
                self.state.optimiser = self.state.new_optimiser()
            # Saved after the phase has ended and the next one has begun: a kill before it ends the phase again, which
            # leaves the same files.
            self.state.save()

    def tokens(self, phases: list[PhaseWork], dev_tokens: int = 0) -> tuple[int, int]:
        """What `train` will have told `advance` at its end, and what of it lies behind a run that goes on."""
        counters = self.state.counters
        done = tokens_before(phases, self.recipe, counters.phase, counters.phase_step, dev_tokens)
        return tokens_before(phases, self.recipe, len(phases), 0, dev_tokens), done

    def _train_phase(
        self,
        order: PhaseOrder,
        total_steps: int,
        advance: Advance,
        end_epoch: Callable[[int, int], None],
        dev_tokens: int,
    ) -> None:
        state, counters, work = self.state, self.state.counters, order.work
        while counters.phase_step < order.steps:
            epoch, index = divmod(counters.phase_step, order.steps_per_epoch)
            is_last = index + 1 == order.steps_per_epoch
            done = counters.step / max(1, total_steps - 1)
            settings = work.settings(done)
            self._set_rate(order.steps, total_steps)
            tokens = sum(row.num_tokens for row in order.rows(counters.phase_step))
            row = self.updater.step(self._rows(order), work.objective, settings, done)
            row |= {"epoch": epoch} | {f"train/{key}": value for key, value in asdict(settings).items()}
            state.append("metrics", row)
            place = f"step {counters.step} phase {counters.phase + 1} epoch {epoch + 1}"
            advance(tokens, f"loss {row['train/loss_nats']:.3f} {place}")
            if is_last:
                end_epoch(counters.phase, epoch)
                if dev_tokens:
                    advance(dev_tokens)
            # After the epoch's end and not before: what the dev answers chose is among the counters.
            if is_last or counters.step % self.engine.save_steps == 0:
                state.save()

    def _rows(self, order: PhaseOrder) -> list[Encoded]:
        """The rows of the step that comes: the phase's, or what the student's own responses make of them."""
        counters = self.state.counters
        if self.on_policy is None:
            if counters.phase_step + 1 < order.steps:
                order.work.prefetch(order.rows(counters.phase_step + 1))
            return order.rows(counters.phase_step)
        upcoming = order.upcoming(counters.phase_step, self.on_policy.steps_ahead)
        return self.on_policy.rows(counters.step, upcoming)

    def _set_rate(self, phase_steps: int, total_steps: int) -> None:
        """The learning rate of the step that comes: by its number in the phase, or among all phases' steps."""
        # Computed anew every step from the counters, so there is no scheduler with a state of its own to save.
        counters, recipe = self.state.counters, self.recipe
        if self.restarts:
            step, steps = counters.phase_step, phase_steps
        else:
            step, steps = counters.step, total_steps
        warmup_steps = round(recipe.warmup_share * steps)
        rate = cosine(step, steps, recipe.learning_rate, recipe.learning_rate_end, warmup_steps)
        for group in self.state.optimiser.param_groups:
            group["lr"] = rate
