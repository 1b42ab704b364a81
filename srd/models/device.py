"""Where a model computes, and in which precision."""

import torch

from srd.config import Engine
from srd.errors import UserError
from srd.runtime import processes


def device(engine: Engine) -> torch.device:
    """The device of the engine settings (of several GPUs, this process's own); one that is not there is a
    `UserError`."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if engine.device == "auto":
        return _for_each_rank(torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind])))
    kind, _, index = engine.device.partition(":")
    if kind not in available or (index and not index.isdigit()):
        raise UserError(f"engine.device={engine.device}: expected auto, cpu, cuda, cuda:N or mps")
    if not available[kind] or (index and kind == "cuda" and int(index) >= torch.cuda.device_count()):
        raise UserError(
            f"engine.device={engine.device}: no such device on this machine ({torch.cuda.device_count()} CUDA "
            "devices); use engine.device=auto or cpu"
        )
    return _for_each_rank(torch.device(engine.device))


def _for_each_rank(device: torch.device) -> torch.device:
    """The device, where every process that shares the stage can have one of its kind."""
    count = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, processes.count())
    if processes.count() > count:
        raise UserError(
            f"engine.processes={processes.count()}: this machine has {count} GPU(s); use engine.processes={count} or "
            "engine.device=cpu"
        )
    return device


def autocast(device: torch.device, engine: Engine) -> torch.autocast:
    """Forward passes in the engine's precision; the loss itself is float32 always."""
    return torch.autocast(device.type, torch.bfloat16, enabled=engine.precision == "bfloat16")
