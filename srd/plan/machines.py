"""Devices: data sheets, and this machine measured."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch


@dataclass(frozen=True)
class Machine:
    """A device: memory in bytes, matrix FLOP/s in either precision, memory bytes/s."""

    name: str
    memory_bytes: float
    float32_flops: float
    bfloat16_flops: float
    bytes_per_second: float
    is_gpu: bool = True


def _gpu(name: str, gib: float, float32: float, bfloat16: float, gigabytes: float) -> Machine:
    return Machine(name, gib * 2**30, float32 * 1e12, bfloat16 * 1e12, gigabytes * 1e9)


GPUS = {
    gpu.name: gpu
    for gpu in (
        _gpu("a100-40gb", 40, 19.5, 312, 1555),
        _gpu("a100-80gb", 80, 19.5, 312, 2039),
        _gpu("h100-80gb", 80, 67, 989, 3350),
        _gpu("h200", 141, 67, 989, 4800),
        _gpu("l4", 22.5, 30.3, 121, 300),
        _gpu("l40s", 45, 91.6, 362, 864),
        _gpu("rtx3090", 24, 35.6, 71, 936),
        _gpu("rtx4090", 24, 82.6, 165, 1008),
    )
}
"""Data sheets: GiB, dense TFLOP/s in float32 and bfloat16, GB/s."""


PROBE = {"cuda": 8192, "cpu": 1024, "mps": 2048}
"""Side of the square matrices whose product measures a device: large enough that starting it takes no time beside
it."""


PROBES = 5
"""Products, or copies, that are timed together, and how often."""


@cache
def this_machine(where: torch.device, precision: str) -> Machine:
    """The device at hand: its memory, the speed of a matrix product and of a copy, the best of a few tries."""
    if where.type == "cuda":
        name, memory = torch.cuda.get_device_name(where), torch.cuda.get_device_properties(where).total_memory
    else:
        name, memory = f"this machine's {where.type}", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    side = PROBE[where.type]
    a = torch.ones(side, side, device=where, dtype=getattr(torch, precision))
    flops = 2 * side**3 / _seconds(lambda: a @ a)
    large = torch.ones(16, side, 1024, device=where)
    copied = 2 * large.nbytes / _seconds(large.clone)
    return Machine(name, memory, flops, flops, copied, is_gpu=where.type == "cuda")


def _seconds(work: Callable[[], torch.Tensor]) -> float:
    """Seconds of one piece of work: the best of a few tries, each of several in a row; the first, which warms up, is
    not among them."""
    best = float("inf")
    for attempt in range(PROBES + 1):
        begin = time.perf_counter()
        for _ in range(PROBES):
            result = work()
        float(result.flatten()[0])  # waits for the device  # pyright: ignore[reportPossiblyUnboundVariable]
        best = min(best, (time.perf_counter() - begin) / PROBES) if attempt else best
    return best
