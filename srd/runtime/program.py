"""Another program, run to its end as a process that does not outlive this one."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from srd.runtime.rank import bind

NEWS_SECONDS = 60.0
"""Between two looks at what a program says."""
OWN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""What tells a Python program where its packages are: another environment has its own."""


def run_program(command: list[str], log: Path, more: Mapping[str, str], tell: Callable[[str], None]) -> int:
    """The exit code of a program (negative: the signal that ended it), which writes all that it says to `log`; `tell`
    hears its newest line every minute."""
    environment = {name: value for name, value in os.environ.items() if name not in OWN}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**environment, **more},
            preexec_fn=partial(bind, os.getpid()),
        )
        try:
            while True:
                try:
                    return process.wait(NEWS_SECONDS)
                except subprocess.TimeoutExpired:
                    tell(last_line(log))
        finally:
            process.kill()
            process.wait()


def last_line(log: Path, pattern: str = "") -> str:
    """The last line of a log in which a pattern is found; a bar that is drawn over itself is one line."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    return next((line for line in reversed(lines) if line and re.search(pattern, line)), "")
