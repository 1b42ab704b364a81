"""A generated program and its tests, each in a process of its own behind walls, and the verdict.

The verifier (`srd.metrics.verifier` argues why its verdict cannot be forged) and the program share two pipes and
nothing else: no process, no file, no network. The verifier alone is told a random token, and a program has passed where
that token comes back in time. Everything else is not passed: a program that ends early, says nothing, or says too much.
"""

import json
import os
import secrets
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from srd.config import Code
from srd.errors import UserError
from srd.metrics import verifier
from srd.metrics.isolation import FOLDER, NOBODY

SOURCE = Path(verifier.__file__).read_text(encoding="utf-8")
READY = b"ready\n"
NOT_STARTED = "not started"
START_SECONDS = 60
"""Two interpreters start within that, or the machine is at fault and not the program."""
MOST_VERDICT_BYTES = 1 << 14
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Checks:
    """What a program has to satisfy."""

    sources: list[str]
    """Python with asserts that call the program by the names it defines."""
    setup: str = ""
    """Executed before them, with the program's names."""
    prelude: str = ""
    """Executed first, without them: what the tests trust."""
    names: tuple[str, ...] = ()
    """What is the program's, though Python or the prelude has something of that name."""


@dataclass(frozen=True)
class Outcome:
    """Whether a program has passed its tests; if not, `why`: what the verifier or a limit said."""

    passed: bool
    why: str


@dataclass
class Role:
    """A process of a verification: what is still to be told to it, and what has come from it."""

    process: subprocess.Popen[bytes]
    given: bytes
    most_bytes: int
    said: bytearray = field(default_factory=bytearray)
    has_ended: bool = False


def run_python(program: str, tests: Checks, code: Code, words: list[str]) -> Outcome:
    """Whether a program passes its tests within the limits, behind the walls that `words` put up (`walls`).

    Both processes, and all that they have started, are gone when this returns. Walls that do not come up are a
    `UserError`: that is no verdict on the program.
    """
    token = secrets.token_hex(16)
    told = {"setup": tests.setup, "prelude": tests.prelude, "names": tests.names}
    common = {"limits": _limits(code), "folder": "." if code.isolation == "none" else FOLDER}
    given = {
        "verifier": {**common, "token": token, "longest": code.output_kb << 10, "tests": tests.sources, **told},
        "program": {**common, "program": program},
    }
    most = {"verifier": MOST_VERDICT_BYTES, "program": code.output_kb << 10}
    with _started(words, code) as processes:
        roles = {
            name: Role(process, json.dumps(given[name]).encode("ascii"), most[name])
            for name, process in processes.items()
        }
        limit = _pump(roles, code.seconds)
    said = bytes(roles["verifier"].said)
    if limit == NOT_STARTED:
        told = said.removeprefix(READY).decode(errors="replace").strip().splitlines()
        raise UserError(
            f"evaluate.code.isolation={code.isolation}: two interpreters did not start in {START_SECONDS} s and "
            f"evaluate.code.memory_mb={code.memory_mb} ({told[-1] if told else 'they said nothing'}); raise the limit, "
            "or see what keeps them"
        )
    if limit is not None:
        return Outcome(False, limit)
    try:
        verdict = json.loads(said.removeprefix(READY))
        return Outcome(secrets.compare_digest(str(verdict["token"]), token), str(verdict["why"]))
    except (ValueError, TypeError, LookupError):
        return Outcome(False, "the verifier ended without a verdict")


def _limits(code: Code) -> dict[str, int]:
    """What each process takes on, by the names of `setrlimit`."""
    return {
        "RLIMIT_AS": code.memory_mb << 20,
        "RLIMIT_CPU": code.cpu_seconds,
        "RLIMIT_FSIZE": code.disk_mb << 20,
        "RLIMIT_NPROC": code.processes,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
    }


@contextmanager
def _started(words: list[str], code: Code) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The verifier and the program with the pipes between them; at the end whatever is left of both is killed."""
    with ExitStack() as stack:
        folder = _own_folder(stack) if code.isolation == "none" else "/"
        processes: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(lambda: [_kill(process) for process in processes.values()])
        requests, replies = os.pipe(), os.pipe()
        try:
            for role, ends in {"program": (requests[0], replies[1]), "verifier": (requests[1], replies[0])}.items():
                processes[role] = subprocess.Popen(
                    [*words, "-c", SOURCE, role, *(str(end) for end in ends)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=ends,
                    cwd=folder,
                    env={"PYTHONHASHSEED": "0"},
                    start_new_session=True,
                )
        finally:
            for end in (*requests, *replies):
                os.close(end)
        yield processes


def _own_folder(stack: ExitStack) -> str:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="srd-code-", ignore_cleanup_errors=True))
    if os.geteuid() == 0:
        os.chown(folder, int(NOBODY), int(NOBODY))
    return folder


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a session and, with the first process of its namespace, all that has left the session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _pump(roles: dict[str, Role], seconds: float) -> str | None:
    """Tell both roles what they are given and hear the verifier out; the limit that ended this, or none."""
    verifier, deadline, is_ready = roles["verifier"], time.monotonic() + START_SECONDS, False
    with selectors.DefaultSelector() as selector:
        for role in roles.values():
            for stream, act in ((role.process.stdin, _tell), (role.process.stdout, _hear)):
                assert stream is not None, "both are pipes"
                os.set_blocking(stream.fileno(), False)
                event = selectors.EVENT_WRITE if act is _tell else selectors.EVENT_READ
                selector.register(stream, event, (role, stream, act))
        while not verifier.has_ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return "time limit" if is_ready else NOT_STARTED
            for key, _ in selector.select(left):
                role, stream, act = key.data
                if act(role, key.fd):
                    selector.unregister(stream)
                    stream.close()
                if len(role.said) > role.most_bytes:
                    return "output limit"
            if not is_ready and verifier.said.startswith(READY):
                is_ready, deadline = True, time.monotonic() + seconds
    return None if is_ready else NOT_STARTED


def _tell(role: Role, file: int) -> bool:
    """Write on what is given; whether there is nothing more to write."""
    try:
        role.given = role.given[os.write(file, role.given[:READ_BYTES]) :]
    except BrokenPipeError:
        role.given = b""
    return not role.given


def _hear(role: Role, file: int) -> bool:
    """Read on what is said; whether that was all."""
    heard = os.read(file, READ_BYTES)
    role.said += heard
    role.has_ended = not heard
    return role.has_ended
