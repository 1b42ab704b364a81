"""The training loop: phases of seeded steps over exact batches, saved so that a killed run goes on unchanged.

What a step does depends on (seed, phase, step) alone: the order of the data and the dropout are drawn
from it, the learning rate is computed from it. A saved state therefore holds weights, optimiser moments
and counters, and nothing else is needed to continue with the same numbers.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from srd.config import Engine, Recipe
from srd.distillation.loss import Objective
from srd.distillation.schedules import PhaseLoss, Settings, cosine
from srd.errors import UserError
from srd.models.device import autocast
from srd.models.heads import unwrapped
from srd.runtime import processes
from srd.runtime.loggers import Log
from srd.runtime.progress import Advance, say
from srd.store.files import disk_errors
from srd.store.rows import dump
from srd.text.batches import collate, pack
from srd.text.encoding import Encoded

STATE = "state.safetensors"


KEPT = "phase-best.safetensors"


NOT_FINITE = "not-finite.json"


SCRATCH = {STATE, KEPT, NOT_FINITE}
"""Files of a training that is under way or has failed."""


@dataclass
class PhaseWork:
    """One phase to train: its samples, its loss, and that loss's settings by share of all steps done."""

    rows: list[Encoded]
    objective: Objective
    settings: Settings = lambda share: PhaseLoss()
    shuffled: bool = True
    expect: Callable[[list[Encoded]], None] = lambda rows: None
    """Told the next step's rows while this one is computed."""


class Writer(Protocol):
    """Puts rows of its own in place of a step's rows; what it remembers is saved with the weights."""

    steps_ahead: int
    """Steps whose rows it wants to see together."""

    def rows(self, step: int, upcoming: list[list[Encoded]]) -> list[Encoded]:
        """The rows to train on in `step`, given those of this and the following steps of the phase."""
        ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Beside:
    """A second loss in every step: its rows by step, its objective, its weight."""

    rows: Callable[[int], list[Encoded]]
    objective: Objective
    weight: float


@dataclass
class Counters:
    """Where training stands; saved with the weights."""

    phase: int = 0
    phase_step: int = 0
    step: int = 0
    sample_passes: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    corpus_tokens: int = 0
    seconds: float = 0.0
    dev_seconds: float = 0.0
    best_rouge_l: float = -1.0
    best_phase: int = -1
    best_epoch: int = -1
    phase_rouge_l: float = -1.0
    micro_batch_tokens: int = 0
    """What the device's memory was found to hold; 0: it has not been too little."""
    metrics_bytes: int = 0
    dev_bytes: int = 0


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
        writer: Writer | None = None,
        beside: Beside | None = None,
    ) -> None:
        self.model, self.recipe, self.engine, self.folder, self.pad_id, self.log = (
            model,
            recipe,
            engine,
            folder,
            pad_id,
            log,
        )
        self.restarts, self.writer, self.beside = restarts, writer, beside
        if engine.gradient_checkpointing:
            unwrapped(model).gradient_checkpointing_enable({"use_reentrant": False})
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.device = next(iter(self.parameters.values())).device
        self._sparse_embedding()
        self.counters = Counters()
        self.optimiser = self._new_optimiser()
        self._restore()

    def _sparse_embedding(self) -> None:
        """On a processor, a micro-batch gives the gradient of the embeddings it read, not of the whole vocabulary's.

        A GPU would have to wait for itself to sort them.
        """
        embedding = unwrapped(self.model).get_input_embeddings()
        if isinstance(embedding, nn.Embedding) and self.device.type == "cpu":
            embedding.sparse = True

    def run(
        self,
        phases: list[PhaseWork],
        advance: Advance,
        end_epoch: Callable[[int, int], None] = lambda phase, epoch: None,
        end_phase: Callable[[int], None] = lambda phase: None,
    ) -> None:
        """Train every phase from where the counters stand; the callbacks run once each, also across kills."""
        c = self.counters
        total_steps = num_steps([len(phase.rows) for phase in phases], self.recipe)
        while c.phase < len(phases):
            self._run_phase(phases[c.phase], total_steps, advance, end_epoch)
            end_phase(c.phase)
            c.phase, c.phase_step, c.phase_rouge_l = c.phase + 1, 0, -1.0
            if self.restarts:
                self.optimiser = self._new_optimiser()
            self.save()

    def _run_phase(
        self, work: PhaseWork, total_steps: int, advance: Advance, end_epoch: Callable[[int, int], None]
    ) -> None:
        c = self.counters
        steps_per_epoch = math.ceil(len(work.rows) / self.recipe.batch_sequences)
        steps = steps_per_epoch * self.recipe.epochs
        while c.phase_step < steps:
            epoch, index = divmod(c.phase_step, steps_per_epoch)
            begin = time.monotonic()
            settings = work.settings(c.step / max(1, total_steps - 1))
            self._set_rate(*((c.phase_step, steps) if self.restarts else (c.step, total_steps)))
            row = self.step(self._rows(work, steps_per_epoch, steps), work.objective, settings)
            c.seconds += time.monotonic() - begin
            self.append(
                "metrics", row | {"epoch": epoch} | {f"train/{key}": value for key, value in asdict(settings).items()}
            )
            advance(1, f"loss {row['train/loss_nats']:.3f} phase {c.phase + 1} epoch {epoch + 1}")
            if index + 1 == steps_per_epoch:
                begin = time.monotonic()
                end_epoch(c.phase, epoch)
                c.dev_seconds += time.monotonic() - begin
            if index + 1 == steps_per_epoch or c.step % self.engine.save_steps == 0:
                self.save()

    def _rows(self, work: PhaseWork, steps_per_epoch: int, steps: int) -> list[Encoded]:
        """The rows of the step that comes: the phase's, or what the writer makes of them."""
        c, size = self.counters, self.recipe.batch_sequences

        def planned(phase_step: int) -> list[Encoded]:
            epoch, index = divmod(phase_step, steps_per_epoch)
            seeded = epoch_order(len(work.rows), self.recipe.seed, c.phase, epoch)
            order = seeded if work.shuffled else list(range(len(work.rows)))
            return [work.rows[i] for i in order[index * size : (index + 1) * size]]

        if self.writer is None:
            if c.phase_step + 1 < steps:
                work.expect(planned(c.phase_step + 1))
            return planned(c.phase_step)
        return self.writer.rows(
            c.step, [planned(s) for s in range(c.phase_step, min(steps, c.phase_step + self.writer.steps_ahead))]
        )

    def _set_rate(self, step: int, steps: int) -> None:
        r = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = cosine(step, steps, r.learning_rate, r.learning_rate_end, round(r.warmup_share * steps))

    def step(self, rows: list[Encoded], objective: Objective, settings: PhaseLoss) -> dict[str, Any]:
        """One optimiser update over exactly `rows`, in micro-batches, normalised by the tokens of all of them."""
        c, begin = self.counters, time.monotonic()
        sums, padded_tokens = self._gradients(rows, objective, settings)
        totals = torch.stack([*sums.values(), torch.full((), padded_tokens, device=self.device)])
        processes.add_up([p.grad for p in self.parameters.values() if p.grad is not None])
        processes.add_up([totals])
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.clip_norm)
        *values, padded_tokens, norm = torch.cat([totals, norm.reshape(1)]).tolist()  # the one wait for the device
        means = dict(zip(sums, values, strict=True))
        self._check_finite(means["loss"], sum(values) + norm, rows)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        tokens = sum(row.num_tokens for row in rows)
        c.phase_step, c.step, c.sample_passes = c.phase_step + 1, c.step + 1, c.sample_passes + len(rows)
        c.tokens, c.supervised_tokens = c.tokens + tokens, c.supervised_tokens + sum(len(row.response) for row in rows)
        return {
            "step": c.step,
            "phase": c.phase,
            **{f"train/{name}_nats": value for name, value in means.items()},
            **({} if self.writer is None else {"train/student_share": sum(row.by_student for row in rows) / len(rows)}),
            "train/learning_rate": self.optimiser.param_groups[0]["lr"],
            "train/gradient_norm": norm,
            "train/padding_share": 1 - tokens / padded_tokens,
            "train/tokens_per_second": tokens / (time.monotonic() - begin),
        }

    def _gradients(
        self, rows: list[Encoded], objective: Objective, settings: PhaseLoss
    ) -> tuple[dict[str, Tensor], int]:
        """This rank's part of the gradient of the step's losses, of their means (nats per token), and of the padded
        tokens.

        Where the device's memory does not suffice, the step begins anew with micro-batches of half the tokens.
        """
        extra = self.beside.rows(self.counters.step) if self.beside is not None else []
        while True:
            torch.manual_seed(step_seed(self.recipe.seed, self.counters.step, processes.rank()))
            try:
                means, padded_tokens = self._accumulate(rows, objective, settings, 1.0)
                if self.beside is not None:
                    of_extra, _ = self._accumulate(extra, self.beside.objective, PhaseLoss(), self.beside.weight)
                    means["corpus"] = of_extra["loss"]
                    self.counters.corpus_tokens += sum(row.num_tokens for row in extra)
                return means, padded_tokens
            except torch.OutOfMemoryError:
                self._halve(max(row.num_tokens for row in [*rows, *extra]))
            # Outside the handler, which holds on to what was computed.
            self.optimiser.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    @property
    def micro_batch_tokens(self) -> int:
        """Largest padded size of a forward pass: the engine's, or what has been found to fit."""
        return min(self.engine.micro_batch_tokens, self.counters.micro_batch_tokens or self.engine.micro_batch_tokens)

    def _halve(self, longest: int) -> None:
        """Take micro-batches of half the tokens from here on; a `UserError` where one row alone is too much."""
        if self.micro_batch_tokens <= longest:
            raise UserError(
                f"out of memory with one sample of {longest} tokens at a time; set engine.gradient_checkpointing=true, "
                "lower engine.loss_positions or model.max_tokens, or take a smaller model (`srd plan` reckons it)"
            )
        self.counters.micro_batch_tokens = self.micro_batch_tokens // 2
        say(
            f"out of memory: micro-batches of {self.micro_batch_tokens} tokens from here on (engine.micro_batch_tokens)"
        )

    def _accumulate(
        self, rows: list[Encoded], objective: Objective, settings: PhaseLoss, weight: float
    ) -> tuple[dict[str, Tensor], int]:
        """Add this rank's part of the gradient of `weight` times the mean loss of `rows`.

        Returns its parts of the unweighted means and of the padded tokens. A rank without a row computes one that
        counts for nothing.
        """
        totals: dict[str, Tensor] = {}
        padded_tokens, count = 0, sum(len(row.response) for row in rows)
        mine = processes.share(sorted(rows, key=lambda row: row.num_tokens)) if processes.size() > 1 else rows
        own = 1 / count if mine else 0.0
        self.model.train()
        for part in pack(mine or rows[:1], self.micro_batch_tokens):
            batch = collate(part, self.pad_id).to(self.device)
            padded_tokens += batch.input_ids.numel() if mine else 0
            with autocast(self.device, self.engine):
                sums = objective(self.model, batch, settings)
            (sums["loss"] * (weight * own)).backward()
            for name, value in sums.items():
                totals[name] = totals.get(name, torch.zeros((), device=self.device)) + value.detach()
        self.model.eval()
        for p in self.parameters.values():
            if p.grad is not None and p.grad.is_sparse:  # an embedding that is not the head as well
                p.grad = p.grad.to_dense()
        return {name: value * own for name, value in totals.items()}, padded_tokens

    def _check_finite(self, loss: float, total: float, rows: list[Encoded]) -> None:
        if math.isfinite(total):
            return
        path = self.folder / NOT_FINITE
        if processes.is_first():
            path.write_text(json.dumps({"step": self.counters.step, "ids": [row.id for row in rows]}))
        raise UserError(
            f"loss {loss} or its gradient is not finite at step {self.counters.step}; the samples are in {path}; "
            "lower the learning rate or use engine.precision=float32"
        )

    def append(self, kind: str, row: dict[str, Any]) -> None:
        """Add a row to `metrics.jsonl` or `dev.jsonl` and to the logger."""
        if not processes.is_first():
            return
        with (self.folder / f"{kind}.jsonl").open("ab") as file:
            file.write(dump(row).encode())
            setattr(self.counters, f"{kind}_bytes", file.tell())
        self.log(row)

    def save(self) -> None:
        """Replace the saved state: weights, optimiser moments, counters."""
        tensors = {f"weights.{name}": p.detach() for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            for key, value in self.optimiser.state.get(p, {}).items():
                tensors[f"{key}.{name}"] = value
        texts = {"counters": json.dumps(asdict(self.counters))}
        if self.writer is not None:
            texts["writer"] = json.dumps(self.writer.state())
        self._replace(STATE, tensors, texts)

    def keep(self) -> None:
        """Remember these weights as the best of the phase."""
        self._replace(KEPT, {f"weights.{name}": p.detach() for name, p in self.parameters.items()}, {})

    def take_back(self) -> None:
        """Go back to the weights of the last `keep`; the optimiser's moments stay."""
        processes.wait()
        with safe_open(self.folder / KEPT, "pt", device=str(self.device)) as file:
            for name, p in self.parameters.items():
                p.data.copy_(file.get_tensor(f"weights.{name}"))

    def _replace(self, name: str, tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
        if not processes.is_first():
            return
        temporary = self.folder / (name + ".tmp")
        with disk_errors(temporary):
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary, texts)
        os.replace(temporary, self.folder / name)

    def _restore(self) -> None:
        """Continue from the saved state: weights, moments, counters; rows logged after it are taken back."""
        path = self.folder / STATE
        if path.is_file():
            with safe_open(path, "pt", device=str(self.device)) as file:
                self.counters = Counters(**json.loads(file.metadata()["counters"]))
                if self.writer is not None:
                    self.writer.restore(json.loads(file.metadata()["writer"]))
                names = set(file.keys())
                for name, p in self.parameters.items():
                    p.data.copy_(file.get_tensor(f"weights.{name}"))
                    keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}.{name}" in names]
                    if keys:
                        self.optimiser.state[p] = {key: _moment(file.get_tensor(f"{key}.{name}"), key) for key in keys}
        for kind in ("metrics", "dev") if processes.is_first() else ():
            rows = self.folder / f"{kind}.jsonl"
            rows.touch()
            os.truncate(rows, getattr(self.counters, f"{kind}_bytes"))

    def _new_optimiser(self) -> torch.optim.AdamW:
        """AdamW without weight decay on biases and norms, which are the parameters of one axis."""
        decay = [p for p in self.parameters.values() if p.ndim >= 2]
        rest = [p for p in self.parameters.values() if p.ndim < 2]
        groups = [{"params": decay, "weight_decay": self.recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.recipe.learning_rate, fused=self.device.type in ("cuda", "cpu"))


@lru_cache(maxsize=4)
def epoch_order(num_rows: int, seed: int, phase: int, epoch: int) -> list[int]:
    """The seeded order of the samples in one epoch."""
    return np.random.default_rng([seed, phase, epoch]).permutation(num_rows).tolist()


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Seed of everything random inside one step (dropout); every rank draws its own."""
    return int(np.random.SeedSequence([seed, step], spawn_key=(rank,) if rank else ()).generate_state(1, np.uint64)[0])


def num_steps(phases: list[int], recipe: Recipe) -> int:
    """Optimiser steps of phases with so many samples each."""
    return sum(math.ceil(rows / recipe.batch_sequences) * recipe.epochs for rows in phases)


def _moment(tensor: Tensor, key: str) -> Tensor:
    # Unfused AdamW counts its steps on the CPU.
    return tensor.cpu() if key == "step" and not tensor.is_cuda else tensor
