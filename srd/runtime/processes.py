"""Several processes share a stage, one a GPU: the same program in each, on its share of the rows; the first one writes.

A process's share is every N-th row, results are merged back into their order, gradients are summed: what comes out does
not depend on the number of processes, to float noise. In one process every function here does nothing.
"""

import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from srd.errors import UserError

Item = TypeVar("Item")


Result = TypeVar("Result")


BUCKET = 1 << 24
"""Numbers summed over the processes in one message."""
PATIENCE_SECONDS = 3600.0
"""A process that waits longer than that for the others gives up: none of them computes so long between two meetings."""
POLL_SECONDS = 0.05
CONNECTION = re.compile("gloo|nccl|connection|broken pipe|TCPStore|FileStore", re.IGNORECASE)
"""What torch says where the processes do not reach each other."""
GRACE_SECONDS = 2.0
"""What the others get to end by themselves once one has failed: how each has ended tells whose end was the first."""


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


def from_first(item: Item) -> Item:
    """What the first process has, on every one."""
    if count() == 1:
        return item
    items = [item]
    _distributed().broadcast_object_list(items)
    return items[0]


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


def launch(
    processes: int, program: Callable[..., Result], *arguments: Any, patience_seconds: float = PATIENCE_SECONDS
) -> Result:
    """What the first of `processes` new processes returns, all of them running `program(*arguments)`.

    When one fails the others are stopped; a `UserError`, an `OSError` or a lack of memory of one is raised here, and
    one that was killed is a `UserError`. They die with this process, whatever ends it (see `rank`), and inherit the
    files that are inheritable: the lock of what they make.
    """
    with tempfile.TemporaryDirectory(prefix="srd-processes-") as name:
        folder = Path(name)
        task = (processes, patience_seconds, program, arguments)
        (folder / "task").write_bytes(pickle.dumps(sys.path) + pickle.dumps(task))
        command = [sys.executable, "-P", str(Path(__file__).with_name("rank.py")), str(os.getpid()), name]
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(processes):
                ranks.append(subprocess.Popen([*command, str(number)], close_fds=False))
            end = None
            while any(rank.poll() is None for rank in ranks) and (end is None or time.monotonic() < end):
                if end is None and any(rank.poll() for rank in ranks):
                    end = time.monotonic() + GRACE_SECONDS
                time.sleep(POLL_SECONDS)
            codes = [rank.poll() or 0 for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        if any(codes):
            raise _failure(folder, codes)
        return pickle.loads((folder / "result").read_bytes())


def _failure(folder: Path, codes: list[int]) -> BaseException:
    """What stopped the ranks, given how they have ended so far: what one of them said, or who was killed."""
    # In this order, because what the others say is that they have lost the one that failed.
    said = sorted(folder.glob("failure-*"), key=lambda path: path.stat().st_mtime_ns)
    if said:
        return pickle.loads(said[0].read_bytes())
    for number, code in enumerate(codes):
        if code < 0:
            return UserError(
                f"process {number + 1} of engine.processes={len(codes)} was ended by {signal.Signals(-code).name} (the "
                "system does that where memory is short: lower engine.processes); the same command continues"
            )
    # The last line of a traceback names the error.
    texts = [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("lost-*"))]
    lost = {text: text.rpartition("\n")[2] for text in texts}
    own = [error for error in lost.values() if not CONNECTION.search(error)]
    if lost and not own:
        return UserError(
            f"the processes of engine.processes={len(codes)} have lost each other ({next(iter(lost.values()))[:200]}); "
            "the same command continues"
        )
    return RuntimeError(f"engine.processes={len(codes)}: a process failed: {', '.join(own)}\n" + "\n".join(lost))


def work_as(
    number: int,
    folder: Path,
    processes: int,
    patience_seconds: float,
    program: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> int:
    """What a rank does once it is bound to its parent; returns its exit code, what it has to say lies in `folder`."""
    import torch

    from srd.runtime import progress

    def lose(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        (folder / f"lost-{number}").write_text(text, encoding="utf-8")

    sys.excepthook = lose  # an error that is nobody's mistake is told once, by whoever started them
    progress.quiet(number > 0)
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    failure: BaseException
    try:
        # Rank, size and meeting place are a file: no port to collide on with another run.
        torch.distributed.init_process_group(
            init_method=f"file://{folder / 'meeting'}",
            rank=number,
            world_size=processes,
            timeout=timedelta(seconds=patience_seconds),
        )
        result = program(*arguments)
        if number == 0:
            (folder / "result").write_bytes(pickle.dumps(result))
        torch.distributed.destroy_process_group()
        return 0
    except (UserError, OSError, MemoryError) as error:
        failure = error
    except RuntimeError as error:
        # Not so what torch says of another process that is gone: whoever started them knows which.
        if not re.search("timed out|timeout", str(error), re.IGNORECASE):
            raise
        failure = UserError(
            f"process {number + 1} of engine.processes={processes} waited {patience_seconds:g} s for the others in "
            "vain; end what holds them up, and the same command continues"
        )
    (folder / f"failure-{number}").write_bytes(pickle.dumps(failure))
    return 1


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
