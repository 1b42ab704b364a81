"""One optimiser update over exactly the rows it is given, cut into micro-batches that fit the device.

Gradients are sums over supervised positions divided by the count of the whole step, so that the update depends
neither on the cut nor on the number of processes:

    loss = Σ_i w_i Σ_t l_it / Σ_i n_i      samples i of the step with weight w_i and n_i supervised positions t

Weights are one unless the filter has made some (`srd.selection.weights`). The count is of tokens, not of weights: a
step divided by its own sum of weights would make up for weights that are small together, and in a step of one sample
any weight would cancel. So a sample moves the student by its weight whatever it shares a step with.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srd.config import Engine, Recipe
from srd.distillation.choosing import StepView
from srd.distillation.loss import Objective
from srd.distillation.schedules import PhaseLoss
from srd.errors import UserError
from srd.models.device import autocast
from srd.models.heads import unwrapped
from srd.runtime import processes
from srd.runtime.progress import say
from srd.text.batches import Batch, collate, longest_last, pack
from srd.text.encoding import Encoded
from srd.training.state import NOT_FINITE, TrainingState


@dataclass(frozen=True)
class AuxiliaryLoss:
    """A second loss in every step: its rows by step, its objective, its weight."""

    rows: Callable[[int], list[Encoded]]
    objective: Objective
    weight: float


@dataclass
class StepSums:
    """This process's share of a step's sums: of the mean losses (nats per token), and of the padded tokens."""

    means: dict[str, Float[Tensor, ""]]
    """`loss`, then its terms `ce` and `kd` where there are any, then `corpus`."""
    padded_tokens: int

    def totals(self) -> Float[Tensor, " sums"]:
        """All numbers in one tensor, so that they are summed over the processes in one message."""
        loss = self.means["loss"]
        return torch.stack([*self.means.values(), torch.full((), self.padded_tokens, device=loss.device)])

    def named(self, totals: list[float]) -> tuple[dict[str, float], float]:
        """The mean losses by name, and the padded tokens, from what `totals` has become on its way."""
        return dict(zip(self.means, totals[:-1], strict=True)), totals[-1]


class Updater:
    """Makes the optimiser steps of one training."""

    def __init__(
        self, state: TrainingState, recipe: Recipe, engine: Engine, pad_id: int, auxiliary: AuxiliaryLoss | None = None
    ) -> None:
        self.state = state
        self.recipe = recipe
        self.engine = engine
        self.pad_id = pad_id
        self.auxiliary = auxiliary
        self._sparse_embedding()

    def _sparse_embedding(self) -> None:
        """On a processor, a micro-batch gives the gradient of the embeddings it read, not of the whole vocabulary's."""
        # A dense one is V x H zeros with a few rows in them, filled and added up once a micro-batch. A GPU does that
        # fast, and would have to wait for itself to sort the rows of a sparse one.
        embedding = unwrapped(self.state.model).get_input_embeddings()
        if isinstance(embedding, nn.Embedding) and self.state.device.type == "cpu":
            embedding.sparse = True

    def step(self, rows: list[Encoded], objective: Objective, settings: PhaseLoss, done: float = 0.0) -> dict[str, Any]:
        """One optimiser update over exactly `rows`, with a share of all steps `done`; returns its row of
        `metrics.jsonl`."""
        state, counters = self.state, self.state.counters
        begin = time.monotonic()
        sums = self.gradients(rows, objective, settings, done)
        totals = sums.totals()
        processes.add_up([p.grad for p in state.parameters.values() if p.grad is not None])
        processes.add_up([totals])
        # After the sum over processes: the norm is that of the whole step's gradient, the same everywhere.
        norm = nn.utils.clip_grad_norm_(state.parameters.values(), self.recipe.clip_norm)
        # The one wait for the device in a step: losses, padded tokens and norm come over together. A `.item()` for
        # each of them would stop the queue of kernels as many times.
        *numbers, gradient_norm = torch.cat([totals, norm.reshape(1)]).tolist()
        means, padded_tokens = sums.named(numbers)
        self._check_finite(means["loss"], sum(numbers) + gradient_norm, rows)
        chosen: dict[str, float] = {}
        if state.chooser is not None:
            chosen = {"train/chosen_share": state.chooser.num_chosen / sum(row.num_supervised for row in rows)}
            state.chooser.end(means["kd"])
        state.optimiser.step()
        # Set to none, not to zero: an addition less in the next step, and no memory held between the two.
        state.optimiser.zero_grad(set_to_none=True)
        tokens = sum(row.num_tokens for row in rows)
        counters.phase_step += 1
        counters.step += 1
        counters.sample_passes += len(rows)
        counters.tokens += tokens
        counters.supervised_tokens += sum(row.num_supervised for row in rows)
        by_student = {"train/student_share": sum(row.by_student for row in rows) / len(rows)}
        return {
            "step": counters.step,
            "phase": counters.phase,
            **{f"train/{name}_nats": value for name, value in means.items()},
            **(by_student if state.on_policy is not None else {}),
            **chosen,
            "train/learning_rate": state.optimiser.param_groups[0]["lr"],
            "train/gradient_norm": gradient_norm,
            "train/padding_share": 1 - tokens / padded_tokens,
            "train/tokens_per_second": tokens / (time.monotonic() - begin),
        }

    def gradients(self, rows: list[Encoded], objective: Objective, settings: PhaseLoss, done: float = 0.0) -> StepSums:
        """This process's share of the gradient of the step's losses, left in the parameters, and of their means.

        Where the device's memory does not suffice, the step begins anew with micro-batches of half the tokens.
        """
        state = self.state
        extra = self.auxiliary.rows(state.counters.step) if self.auxiliary is not None else []
        while True:
            # Here and not once a run, so that a step that begins anew, or goes on after a kill, draws the same.
            torch.manual_seed(step_seed(self.recipe.seed, state.counters.step, processes.index()))
            try:
                if state.chooser is not None:
                    state.chooser.begin(self._view(rows, done))
                sums = self.accumulate(rows, objective, settings, 1.0)
                if self.auxiliary is not None:
                    corpus = self.accumulate(extra, self.auxiliary.objective, PhaseLoss(), self.auxiliary.weight)
                    sums.means["corpus"] = corpus.means["loss"]
                    state.counters.corpus_tokens += sum(row.num_tokens for row in extra)
                return sums
            except torch.OutOfMemoryError:
                self._halve(max(row.num_tokens for row in [*rows, *extra]))
            # Outside the handler, because the exception's frames hold on to the tensors that did not fit.
            state.optimiser.zero_grad(set_to_none=True)
            if state.device.type == "cuda":
                torch.cuda.empty_cache()

    @property
    def micro_batch_tokens(self) -> int:
        """Largest padded size of a forward pass: the engine's, or what has been found to fit."""
        return min(self.engine.micro_batch_tokens, self.state.counters.micro_batch_tokens or 1 << 62)

    def _halve(self, longest: int) -> None:
        """Take micro-batches of half the tokens from here on; a `UserError` where one row alone is too much."""
        if self.micro_batch_tokens <= longest:
            raise UserError(
                f"out of memory with one sample of {longest} tokens at a time; set engine.gradient_checkpointing=true, "
                "lower engine.loss_positions or model.max_tokens, or take a smaller model (`srd plan` estimates it)"
            )
        # Among the counters, so that a killed run goes on with what it has found and need not run out again.
        self.state.counters.micro_batch_tokens = self.micro_batch_tokens // 2
        tokens = self.micro_batch_tokens
        say(f"out of memory: micro-batches of {tokens} tokens from here on (engine.micro_batch_tokens)")

    def accumulate(self, rows: list[Encoded], objective: Objective, settings: PhaseLoss, weight: float) -> StepSums:
        """Add this process's share of the gradient of `weight` times the mean loss of `rows`.

        Returns its share of the unweighted means and of the padded tokens.
        """
        state = self.state
        totals: dict[str, Tensor] = {}
        padded_tokens = 0
        # Of the whole step, on every process: the mean of means of micro-batches would weigh a token by how many others
        # it shares its micro-batch with.
        count = sum(row.num_supervised for row in rows)
        mine = processes.share(longest_last(rows))
        # A process without a row computes one that counts for nothing: it has to be there when gradients are summed.
        own = 1 / count if mine else 0.0
        state.model.train()
        for batch in self._batches(mine or rows[:1]):
            padded_tokens += batch.input_ids.numel() if mine else 0
            with autocast(state.device, self.engine):
                sums = objective(state.model, batch, settings)
            (sums.loss * (weight * own)).backward()
            # Added up on the device and left there: a number asked for here would be a wait a micro-batch.
            for name, value in sums.by_name().items():
                totals[name] = totals.get(name, torch.zeros((), device=state.device)) + value.detach()
        state.model.eval()
        # Clipping, the sum over processes and AdamW want dense gradients; once a step that is cheap.
        for p in state.parameters.values():
            if p.grad is not None and p.grad.is_sparse:  # an embedding that is not the head as well
                p.grad = p.grad.to_dense()
        return StepSums({name: value * own for name, value in totals.items()}, padded_tokens)

    def _batches(self, rows: list[Encoded]) -> Iterator[Batch]:
        """Rows as micro-batches that fit the device."""
        for batch_rows in pack(rows, self.micro_batch_tokens):
            yield collate(batch_rows, self.pad_id).to(self.state.device)

    def _view(self, rows: list[Encoded], done: float) -> StepView:
        """What a choice of positions may see of a step."""
        state = self.state
        within = partial(autocast, state.device, self.engine)
        return StepView(state.model, state.counters.step, done, rows, self._batches, within)

    def _check_finite(self, loss: float, total: float, rows: list[Encoded]) -> None:
        """A `UserError` unless the step's numbers are finite, with the samples in a file; before the weights change."""
        if math.isfinite(total):  # a sum is finite only where all of its terms are
            return
        step = self.state.counters.step
        path = self.state.folder / NOT_FINITE
        if processes.is_first():
            path.write_text(json.dumps({"step": step, "ids": [row.id for row in rows]}))
        raise UserError(
            f"loss {loss} or its gradient is not finite at step {step}; the samples are in {path}; "
            "lower the learning rate or use engine.precision=float32"
        )


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """Seed of everything random inside one step (dropout); every process draws its own."""
    key = (process,) if process else ()
    return int(np.random.SeedSequence([seed, step], spawn_key=key).generate_state(1, np.uint64)[0])
