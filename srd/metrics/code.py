"""Generated code by its tests: which program an answer is, and whether it passes.

The program of an answer. Where the answer has fenced blocks, it is the first one that defines something, else the first
one. Where it has none, it is the whole answer up to the first of `STOPS`. A sample with an entry point has an
instruction that begins that function (HumanEval): code that defines the function follows the instruction, which brings
the imports and helpers; other code is the function's body. A body lacks the indentation of its first line, because
answers have no outer white space, and ends before the first later line that is not indented. Nothing of an answer is
parsed here: a parser can be brought down.
"""

import ast
import builtins
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from srd.config import Code
from srd.errors import UserError
from srd.metrics.sandbox import Checks, Outcome, run_python
from srd.metrics.walls import walls
from srd.store.rows import Sample

FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
DEFINES = re.compile(r"^(?:async +def|def|class) ", re.MULTILINE)
DEFINED = re.compile(r"^def +(\w+)", re.MULTILINE)
STOPS = re.compile(r"^(?:\[DONE\]|```|assert |print\(|if __name__)", re.MULTILINE)
"""Where an answer begins to test itself or to talk on: what the tools of the field cut at, without `class` and `if`,
which MBPP's own solutions have."""
INDENTATION = "    "


def code_of(answer: str) -> str:
    """The code in an answer."""
    blocks = [found[1] for found in FENCED.finditer(answer)]
    if blocks:
        return next((block for block in blocks if DEFINES.search(block)), blocks[0])
    stop = STOPS.search(answer)
    return answer[: stop.start()] if stop else answer


def program_of(answer: str, sample: Sample) -> str:
    """The program that an answer to a sample's prompt is."""
    code = code_of(answer)
    if not sample.entry_point:
        return code
    if _defines(code, sample.entry_point):
        return f"{sample.instruction}\n\n{code}"
    first, *later = code.split("\n")
    body = [first if first[:1].isspace() or not first else INDENTATION + first]
    for line in later:
        if line and not line[0].isspace():
            break
        body.append(line)
    return sample.instruction + "\n".join(body) + "\n"


def _defines(code: str, name: str) -> bool:
    return re.search(rf"^(?:(?:async +)?def +{re.escape(name)}\b|{re.escape(name)} *=)", code, re.MULTILINE) is not None


def checks_of(sample: Sample) -> Checks:
    """What the program of an answer has to satisfy; a `UserError` where a sample says nothing that could be tested."""
    if not sample.tests:
        raise UserError(
            f"sample {sample.id}: no tests, which code_passes runs; name their column with dataset.columns.tests"
        )
    for source in (sample.setup, *sample.tests):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UserError(
                f"sample {sample.id}: its tests do not parse ({error}): {source.strip()[:60]!r}; mend or drop the row"
            ) from None
        asserts = any(isinstance(node, ast.Assert) for node in ast.walk(tree))
        if source is not sample.setup and not asserts:
            raise UserError(
                f"sample {sample.id}: a test without an assert, which any code passes: {source.strip()[:60]!r}; mend "
                "or drop the row"
            )
    if sample.entry_point:
        return Checks(sample.tests, sample.setup, sample.instruction, (sample.entry_point,))
    return Checks(sample.tests, sample.setup, names=_shadowing(sample.references[0]))


def _shadowing(reference: str) -> tuple[str, ...]:
    """The functions of a reference that have a name which Python has taken: `sum` in a test is then the program's."""
    return tuple(sorted(set(DEFINED.findall(reference)) & vars(builtins).keys()))


def outcomes(answers: Sequence[str], samples: Sequence[Sample], code: Code) -> list[Outcome]:
    """What each answer's program comes to, in their order; as many at once as there are processors."""
    words, tests = walls(code), [checks_of(sample) for sample in samples]
    programs = [program_of(answer, sample) for answer, sample in zip(answers, samples, strict=True)]
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        return list(pool.map(lambda program, asked: run_python(program, asked, code, words), programs, tests))
    finally:
        pool.shutdown(cancel_futures=True)


def passes(answers: Sequence[str], samples: Sequence[Sample], code: Code) -> list[float]:
    """1 for an answer whose code passes its sample's tests, else 0; the mean over seeds and samples is pass@1."""
    return [float(outcome.passed) for outcome in outcomes(answers, samples, code)]
