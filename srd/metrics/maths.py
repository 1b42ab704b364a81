"""Whether the final answer to a mathematical problem is right, by math-verify.

The final answer of a text is what follows `####` in its line, as in GSM8K; where no line has that, it is what
math-verify reads last in the text (the content of a \\boxed{} first), and its last number where it reads nothing.
"""

import json
import re
import select
import subprocess
import sys
from functools import cache
from pathlib import Path

from srd.errors import UserError
from srd.store.rows import Sample

SECONDS = 5.0
"""Limit of one comparison: what takes longer is wrong."""
COMPARER_SECONDS = 60.0
"""Limit of the start of the process that compares."""
MARKED = re.compile(r"^.*?####[ \t]*(\S.*)$", re.MULTILINE)
LONGEST = 20_000
"""Characters of an answer that are read, its last ones."""


def final_answer(text: str) -> str:
    """The part of a text that is compared; a minus that only looks another is the one on the keyboard."""
    marked = MARKED.search(text)
    return (marked[1].strip() if marked else text[-LONGEST:]).replace("\N{MINUS SIGN}", "-")


def math_exact(answer: str, references: list[str]) -> float:
    """1.0 where the final answer equals that of a reference as an expression, else 0.0.

    A comparison that takes more than `SECONDS` or brings its process down is 0.0 too.
    """
    given = final_answer(answer)
    golds = [final_answer(reference) for reference in references]
    if given in golds:  # most are plain numbers
        return 1.0
    return float(any(_comparer().is_same(gold, given) for gold in golds))


def check_maths(sample: Sample) -> None:
    """A `UserError` for a sample of which no reference has a number or an expression."""
    if not any(re.search(r"\d|\\boxed|\$", final_answer(reference)) for reference in sample.references):
        raise UserError(
            f"sample {sample.id}: no number or expression in its reference {sample.references[0][:60]!r}, which "
            "math_exact compares; mend or drop the row, or take another metric"
        )


class Comparer:
    """The process of `equivalence`, started at need and again after it was lost."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def is_same(self, gold: str, answer: str) -> bool:
        """What it says of two answers, within `SECONDS`."""
        process = self.process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps([gold, answer]) + "\n")
            process.stdin.flush()
        except OSError:
            self._end()
            return False
        said = self._line(SECONDS)
        if said not in ("true", "false"):
            self._end()
        return said == "true"

    def _start(self) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("equivalence.py")
        command = [sys.executable, "-I", str(script)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        if self._line(COMPARER_SECONDS) != "ready":
            self._end()
            raise UserError(f"math_exact: the process that compares answers does not start ({' '.join(command)})")
        return self.process

    def _line(self, seconds: float) -> str:
        """The next line; nothing where it does not come in time."""
        assert self.process is not None
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline().strip() if ready else ""

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None


@cache
def _comparer() -> Comparer:
    return Comparer()
