"""What training changes, and its copy on disk: weights, optimiser moments, counters, log files.

Nothing else is needed to continue with the same numbers, because whatever a step draws depends on (seed, phase,
step) alone. A saved state replaces the last one whole, so that a kill at any moment leaves one that can be read. It
vouches for itself and for what lies beside it; where anything does not agree, training begins anew.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from srd.config import Recipe
from srd.distillation.choosing import Chooser
from srd.runtime import processes
from srd.runtime.clock import Clock
from srd.runtime.loggers import Log
from srd.runtime.progress import say
from srd.store.files import remove, replace_tensors
from srd.store.remains import Grown, Vouched, clear
from srd.store.rows import dump
from srd.text.encoding import Encoded
from srd.training.rounding import say_lost_steps

STATE = "state.safetensors"
PHASE_BEST = "phase-best.safetensors"
NOT_FINITE = "not-finite.json"
LOGS = ("metrics", "dev")
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


class TrainingState:
    """A model under training with its optimiser and counters, continued from `folder` where a killed run left one."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        folder: Path,
        log: Log,
        on_policy: OnPolicyData | None = None,
        clock: Clock | None = None,
        chooser: Chooser | None = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.folder = folder
        self.log = log
        self.on_policy = on_policy
        self.chooser = chooser
        # Frozen weights (all but an adapter's) are loaded as they were, not saved with every state.
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.device = next(iter(self.parameters.values())).device
        self.counters = Counters()
        self.clock = clock or Clock()
        self.optimiser = self.new_optimiser()
        say_lost_steps(list(self.parameters.values()), recipe.learning_rate)
        self.beside = Vouched(folder)
        """Weights that are left behind, the best of the phase among them: each is there once the state is saved."""
        self.logs = {kind: Grown(folder / f"{kind}.jsonl") for kind in LOGS}
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
        self.logs[kind].append(dump(row))
        self.log(row)

    def save(self) -> None:
        """Replace the saved state: weights, optimiser moments, counters; of several processes the first one does."""
        if not processes.is_first():
            return
        # By the parameter's name, not by its number in the optimiser, which the grouping decides. Before the first step
        # there are no moments. Neither a random state nor the order of the data is saved: the counters give both.
        tensors = self._weights()
        for name, p in self.parameters.items():
            for key, value in self.optimiser.state.get(p, {}).items():
                tensors[f"{key}.{name}"] = value
        logs = {kind: log.mark for kind, log in self.logs.items()}
        texts = {"folder": self.folder.name, "counters": asdict(self.counters), "logs": logs}
        texts |= {"beside": self.beside.digests(), "clock": self.clock.reading()}
        if self.on_policy is not None:
            texts["on_policy"] = self.on_policy.state()
        if self.chooser is not None:
            texts["chooser"] = self.chooser.state()
        dumped = {key: json.dumps(text) for key, text in texts.items()}
        replace_tensors(self.folder / STATE, tensors, {**dumped, "digest": _digest(tensors, dumped)})
        self.beside.commit()

    def snapshot(self) -> None:
        """Remember these weights as the best of the phase, from the next `save` on."""
        if processes.is_first():
            replace_tensors(self.beside.prepare(PHASE_BEST), self._weights())

    def restore_snapshot(self) -> None:
        """Go back to the weights of the last `snapshot`; the optimiser's moments stay."""
        processes.wait()  # the first process has written the file, all of them read it
        with safe_open(self.folder / PHASE_BEST, "pt", device=str(self.device)) as file:
            for name, p in self.parameters.items():
                p.data.copy_(file.get_tensor(f"weights.{name}"))

    def _weights(self) -> dict[str, Tensor]:
        return {f"weights.{name}": p.detach() for name, p in self.parameters.items()}

    def _restore(self) -> None:
        """Continue from the saved state, if there is one that holds; what was done after it is taken back."""
        damaged = self._take_back() if processes.is_first() else None
        if processes.from_first(damaged) is not None:
            say(f"{damaged}: what a killed run left is damaged; training begins anew")
        if (self.folder / STATE).is_file():
            self._read()
        # The first process may save without asking the others, at the end of a phase: not before all have read.
        processes.wait()

    def _read(self) -> None:
        """Take over the saved state."""
        with safe_open(self.folder / STATE, "pt", device=str(self.device)) as file:
            self.counters = Counters(**json.loads(file.metadata()["counters"]))
            self.clock.carry(json.loads(file.metadata()["clock"]))
            if self.on_policy is not None:
                self.on_policy.restore(json.loads(file.metadata()["on_policy"]))
            if self.chooser is not None:
                self.chooser.restore(json.loads(file.metadata()["chooser"]))
            names = set(file.keys())
            for name, p in self.parameters.items():
                # Into the tensor that is there: the optimiser and a tied head hold the parameter itself.
                p.data.copy_(file.get_tensor(f"weights.{name}"))
                keys = [key for key in MOMENTS if f"{key}.{name}" in names]
                if keys:
                    self.optimiser.state[p] = {key: _moment(file.get_tensor(f"{key}.{name}"), key) for key in keys}

    def _take_back(self) -> str | None:
        """Leave the folder as it was when the state was saved, or empty where something in it is damaged, which is
        returned. Steps after the saved state are done again and log and leave the same again."""
        damaged = self._damaged()
        if damaged is not None:
            clear(self.folder)
        if not (self.folder / STATE).is_file():
            if any(log.path.is_file() and log.path.stat().st_size for log in self.logs.values()):
                say(f"{self.folder}: no saved state vouches for what a killed run left; training begins anew")
            for log in self.logs.values():
                remove(log.path)
                log.path.touch()
            self.beside.restore({})
        return damaged

    def _damaged(self) -> str | None:
        """The first file or folder that is not as the saved state says, with that cut back or put in place which is."""
        path = self.folder / STATE
        if not path.is_file():
            return str(path) if path.exists() else None
        try:
            with safe_open(path, "pt") as file:
                texts = dict(file.metadata() or {})
                digest = texts.pop("digest", None)
                holds = digest == _digest({key: file.get_tensor(key) for key in file.keys()}, texts)  # noqa: SIM118
        except SafetensorError:  # and no OSError: a disk that cannot be read now is no reason to begin anew
            return str(path)
        if not holds or json.loads(texts["folder"]) != self.folder.name or "clock" not in texts:  # of an older srd
            return str(path)
        marks = json.loads(texts["logs"])
        for kind, log in self.logs.items():
            if not log.restore(marks[kind]):
                return str(log.path)
        missing = self.beside.restore(json.loads(texts["beside"]))
        return None if missing is None else str(self.folder / missing)


def _digest(tensors: Mapping[str, Tensor], texts: dict[str, str]) -> str:
    """SHA-256 of tensors and texts with their names."""
    found = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _moment(tensor: Tensor, key: str) -> Tensor:
    # Unfused AdamW counts its steps on the CPU.
    return tensor.cpu() if key == "step" and not tensor.is_cuda else tensor
