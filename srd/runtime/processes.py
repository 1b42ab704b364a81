"""Several processes share a stage, one a GPU: the same program in each, on its share of the rows; the first one writes.

A process's share is every N-th row, results are merged back into their order, gradients are summed: what comes out does
not depend on the number of processes, to float noise. In one process every function here does nothing.
"""

import pickle
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from srd.errors import UserError

Item = TypeVar("Item")


Result = TypeVar("Result")


BUCKET = 1 << 24
"""Numbers summed over the processes in one message."""


def count() -> int:
    """How many processes share this stage."""
    distributed = _distributed()
    return 1 if distributed is None else distributed.get_world_size()


def index() -> int:
    """Which of them this is, from 0."""
    distributed = _distributed()
    return 0 if distributed is None else distributed.get_rank()


def is_first() -> bool:
    """Whether this process writes files and talks."""
    return index() == 0


def share(items: list[Item]) -> list[Item]:
    """This process's part of `items`: every N-th, so that what is sorted by length is spread evenly."""
    return items[index() :: count()]


def merged(items: list[Item]) -> list[Item]:
    """What all processes have for their shares, in the order of the whole; every one gets it."""
    if count() == 1:
        return items
    parts: list[list[Item]] = [[] for _ in range(count())]
    _distributed().all_gather_object(parts, items)
    return [parts[i % count()][i // count()] for i in range(sum(map(len, parts)))]


def add_up(tensors: list[Any]) -> None:
    """Sum each tensor over the processes, in place; the sums are equal on every one to the last bit."""
    if count() == 1:
        return
    import torch

    for bucket in buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        _distributed().all_reduce(flat)
        for tensor, total in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(total.view_as(tensor))


def wait() -> None:
    """Go on when every process is here."""
    if count() > 1:
        _distributed().barrier()


def launch(processes: int, program: Callable[..., Result], *arguments: Any) -> Result:
    """What the first of `processes` new processes returns, all of them running `program(*arguments)`.

    When one fails the others are stopped; a `UserError` or an `OSError` of one is raised here. They die with this
    process.
    """
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

    with tempfile.TemporaryDirectory(prefix="srd-processes-") as name:
        try:
            spawn(_worker, (processes, Path(name), program, arguments), nprocs=processes)
        except (ProcessRaisedException, ProcessExitedException):
            failures = sorted(Path(name).glob("failure-*"))
            if not failures:
                raise
            raise pickle.loads(failures[0].read_bytes()) from None
        return pickle.loads((Path(name) / "result").read_bytes())


def _worker(number: int, processes: int, folder: Path, program: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The life of one process. Rank, size and meeting place are a file: no port to collide on with another run."""
    import torch

    from srd.runtime import progress

    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # also what it gets when its parent is killed: it must not linger at the files
    progress.quiet(number > 0)
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    torch.distributed.init_process_group(init_method=f"file://{folder / 'meeting'}", rank=number, world_size=processes)
    try:
        result = program(*arguments)
    except (UserError, OSError) as error:
        (folder / f"failure-{number}").write_bytes(pickle.dumps(error))
        raise
    if number == 0:
        (folder / "result").write_bytes(pickle.dumps(result))
    torch.distributed.destroy_process_group()


def buckets(tensors: list[Any]) -> list[list[Any]]:
    """Neighbours of one kind, together at most `BUCKET` numbers or one tensor."""
    found: list[list[Any]] = []
    numel = 0
    for tensor in tensors:
        if not found or numel + tensor.numel() > BUCKET or tensor.dtype != found[-1][0].dtype:
            found.append([])
            numel = 0
        found[-1].append(tensor)
        numel += tensor.numel()
    return found


def _distributed() -> Any:
    """torch.distributed where a group of processes has met; torch need not be loaded to know that none has."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    return torch.distributed
