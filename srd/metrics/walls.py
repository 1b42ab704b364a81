"""Which isolation shuts generated code away on this machine: tried, not taken on trust."""

import socket
import tempfile
from dataclasses import astuple, replace
from functools import cache
from pathlib import Path

from srd.config import Code
from srd.errors import UserError, first_line
from srd.metrics.isolation import command
from srd.metrics.sandbox import Checks, run_python

SHUT = ("bwrap", "unshare")
"""The kinds that shut code away, the first that works is taken."""
CANARY = """
import os, socket

def add(a, b):
    return a + b

def exists(path):
    return os.path.exists(path)

def reaches(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1)
    except OSError:
        return False
    return True
"""


def walls(code: Code) -> list[str]:
    """The words that start an interpreter behind walls that hold; a `UserError` where there are none."""
    return list(working(astuple(code)))


@cache
def working(values: tuple[object, ...]) -> tuple[str, ...]:
    code, faults = Code(*values), []  # pyright: ignore[reportArgumentType]
    for kind in SHUT if code.isolation == "auto" else (code.isolation,):
        words = command(kind, code)
        fault = f"{kind} is not installed" if words is None else _fault(replace(code, isolation=kind), words)
        if words is not None and fault is None:
            return tuple(words)
        faults.append(str(fault))
    raise UserError(
        f"evaluate.code.isolation={code.isolation}: generated code cannot be shut away here ({'; '.join(faults)}); "
        "install bubblewrap, allow user namespaces, or set evaluate.code.isolation=none on a machine that may be lost"
    )


def _fault(code: Code, words: list[str]) -> str | None:
    """What a program that does its task sees of the host and should not, or why it does not run; none: all is well."""
    with tempfile.NamedTemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as server:
        shut = [
            f"assert not exists({str(path)!r})" for path in (file.name, Path(__file__), "/etc/passwd", "/proc/self")
        ]
        shut.append(f"assert not reaches({server.getsockname()[1]})")
        tests = ["assert add(1, 2) == 3", *(shut if code.isolation != "none" else [])]
        try:
            outcome = run_python(CANARY, Checks(tests), code, words)
        except (UserError, OSError) as error:
            return f"{code.isolation}: {first_line(error)}"
    return None if outcome.passed else f"{code.isolation}: {outcome.why}"
