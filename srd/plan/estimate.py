"""An estimate of a run from its config: the models' facts, the lengths of the samples, the speed of the device."""

import shutil
from pathlib import Path

from srd.config import Config
from srd.errors import look_up
from srd.models.device import device
from srd.models.facts import facts_of
from srd.plan.advice import refuse
from srd.plan.lengths import Folders, lengths_of
from srd.plan.machines import GPUS, Machine, this_machine
from srd.plan.needs import RunEstimate

USABLE = 0.92
"""Share of a device's memory that a run can have; drivers, kernels and fragments take the rest."""


def estimate(cfg: Config, folders: Folders, finished: frozenset[str]) -> RunEstimate:
    """Everything that the sums need for this config; stages that are `finished` need nothing more."""
    lengths = lengths_of(cfg, folders)
    return RunEstimate(cfg, facts_of(cfg, "teacher"), facts_of(cfg, "student"), lengths, _machine(cfg), finished)


def _machine(cfg: Config) -> Machine:
    if cfg.plan.gpu is not None:
        return look_up(GPUS, cfg.plan.gpu, "plan.gpu")
    return this_machine(device(cfg.engine), cfg.engine.precision)


def refuse_unfit(run: RunEstimate) -> None:
    """A `UserError` where the run cannot fit the device's memory or the disk."""
    cfg = run.cfg
    folder = Path(cfg.outputs)
    memory = cfg.plan.memory_gb * 1e9 if cfg.plan.memory_gb is not None else USABLE * run.machine.memory_bytes
    memory = memory if run.machine.is_gpu else memory / cfg.engine.processes
    refuse(run, memory, shutil.disk_usage(folder if folder.is_dir() else ".").free)
