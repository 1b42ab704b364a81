"""What training changes, and its copy on disk: weights, optimiser moments, counters, log files.

Nothing else is needed to continue with the same numbers, because whatever a step draws depends on (seed, phase,
step) alone. A saved state replaces the last one whole, so that a kill at any moment leaves one that can be read.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from srd.config import Recipe
from srd.runtime import processes
from srd.runtime.loggers import Log
from srd.store.files import disk_errors
from srd.store.rows import dump
from srd.text.encoding import Encoded

STATE = "state.safetensors"
PHASE_BEST = "phase-best.safetensors"
NOT_FINITE = "not-finite.json"
SCRATCH = {STATE, PHASE_BEST, NOT_FINITE}
"""Files of a training that is under way or has failed."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter."""


class OnPolicyData(Protocol):
    """Puts rows of its own in place of a step's rows; what it remembers is saved with the weights."""

    steps_ahead: int
    """Steps whose rows it wants to see together."""

    def rows(self, step: int, upcoming: list[list[Encoded]]) -> list[Encoded]:
        """The rows to train on in `step`, given those of this and the following steps of the phase."""
        ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


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
    best_score: float | None = None
    """Of the dev answers, by the metric that chooses; none before the first epoch has ended."""
    best_nll: float | None = None
    """Dev loss of those weights, nats per token: it decides between equal scores."""
    best_phase: int = -1
    best_epoch: int = -1
    phase_score: float | None = None
    """The best of this phase."""
    phase_nll: float | None = None
    """Dev loss of those weights."""
    micro_batch_tokens: int = 0
    """What the device's memory was found to hold; 0: it has not been too little."""
    metrics_bytes: int = 0
    """Length of `metrics.jsonl` when the state was saved: what was logged later is taken back."""
    dev_bytes: int = 0
    """The same of `dev.jsonl`."""


class TrainingState:
    """A model under training with its optimiser and counters, continued from `folder` where a killed run left one."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, folder: Path, log: Log, on_policy: OnPolicyData | None = None
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.folder = folder
        self.log = log
        self.on_policy = on_policy
        # Frozen weights (all but an adapter's) are loaded as they were, not saved with every state.
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.device = next(iter(self.parameters.values())).device
        self.counters = Counters()
        self.optimiser = self.new_optimiser()
        self._restore()

    def new_optimiser(self) -> torch.optim.AdamW:
        """AdamW without weight decay on biases and norms, which are the parameters of one axis."""
        # Fused: one pass over all parameters in place of several small operations on each.
        decay = [p for p in self.parameters.values() if p.ndim >= 2]
        rest = [p for p in self.parameters.values() if p.ndim < 2]
        groups = [{"params": decay, "weight_decay": self.recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.recipe.learning_rate, fused=self.device.type in ("cuda", "cpu"))

    def append(self, kind: str, row: dict[str, Any]) -> None:
        """Add a row to `metrics.jsonl` or `dev.jsonl` and to the logger; of several processes the first one does."""
        if not processes.is_first():
            return
        with (self.folder / f"{kind}.jsonl").open("ab") as file:
            file.write(dump(row).encode())
            if kind == "metrics":
                self.counters.metrics_bytes = file.tell()
            else:
                self.counters.dev_bytes = file.tell()
        self.log(row)

    def save(self) -> None:
        """Replace the saved state: weights, optimiser moments, counters."""
        # By the parameter's name, not by its number in the optimiser, which the grouping decides. Before the first step
        # there are no moments. Neither a random state nor the order of the data is saved: the counters give both.
        tensors = {f"weights.{name}": p.detach() for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            for key, value in self.optimiser.state.get(p, {}).items():
                tensors[f"{key}.{name}"] = value
        texts = {"counters": json.dumps(asdict(self.counters))}
        if self.on_policy is not None:
            texts["on_policy"] = json.dumps(self.on_policy.state())
        self._replace(STATE, tensors, texts)

    def snapshot(self) -> None:
        """Remember these weights as the best of the phase."""
        self._replace(PHASE_BEST, {f"weights.{name}": p.detach() for name, p in self.parameters.items()}, {})

    def restore_snapshot(self) -> None:
        """Go back to the weights of the last `snapshot`; the optimiser's moments stay."""
        processes.wait()  # the first process has written the file, all of them read it
        with safe_open(self.folder / PHASE_BEST, "pt", device=str(self.device)) as file:
            for name, p in self.parameters.items():
                p.data.copy_(file.get_tensor(f"weights.{name}"))

    def _replace(self, name: str, tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
        if not processes.is_first():
            return
        # Written beside the old one and then renamed over it, which happens whole or not at all.
        temporary = self.folder / (name + ".tmp")
        with disk_errors(temporary):
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary, texts)
        os.replace(temporary, self.folder / name)

    def _restore(self) -> None:
        """Continue from the saved state, if there is one; rows logged after it are taken back."""
        path = self.folder / STATE
        if path.is_file():
            with safe_open(path, "pt", device=str(self.device)) as file:
                self.counters = Counters(**json.loads(file.metadata()["counters"]))
                if self.on_policy is not None:
                    self.on_policy.restore(json.loads(file.metadata()["on_policy"]))
                names = set(file.keys())
                for name, p in self.parameters.items():
                    # Into the tensor that is there: the optimiser and a tied head hold the parameter itself.
                    p.data.copy_(file.get_tensor(f"weights.{name}"))
                    keys = [key for key in MOMENTS if f"{key}.{name}" in names]
                    if keys:
                        self.optimiser.state[p] = {key: _moment(file.get_tensor(f"{key}.{name}"), key) for key in keys}
        if processes.is_first():
            # Steps after the saved state are done again and log their rows again: the old ones are cut off, so that the
            # files are those of a run that was never killed.
            for kind, length in (("metrics", self.counters.metrics_bytes), ("dev", self.counters.dev_bytes)):
                log = self.folder / f"{kind}.jsonl"
                log.touch()
                os.truncate(log, length)


def _moment(tensor: Tensor, key: str) -> Tensor:
    # Unfused AdamW counts its steps on the CPU.
    return tensor.cpu() if key == "step" and not tensor.is_cuda else tensor
