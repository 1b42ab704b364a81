"""What all tests share: small models and data made on the spot, and the real command line."""

import importlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from jaxtyping import install_import_hook

from tests.reading import write_jsonl

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores

CHECKED = [
    "srd.distillation",
    "srd.generation",
    "srd.models.heads",
    "srd.selection",
    "srd.text.batches",
    "srd.training.step",
]
"""Rooms and files whose annotations hold at every call of a test: types, and the shapes of tensors."""


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its arguments and result checked against its annotations; an int is taken for a float."""
    from beartype import BeartypeConf, beartype

    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)


def pytest_configure(config: pytest.Config) -> None:
    """Check the shapes in the process that runs the tests; `srd` at work in another process is as users have it."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # pytest-xdist's own process runs no test
    install_import_hook(CHECKED, "tests.conftest.checked")
    # Three files name the types of their arrays for type checkers alone, because the graph imports them and a finished
    # run loads neither torch nor jaxtyping: here their annotations are to mean something. What they import in turn is
    # loaded first, so that nothing else takes these tests for a type checker.
    for name in ("beartype", "torch", "srd.config", "srd.store.columns", "srd.store.rows"):
        importlib.import_module(name)
    with patch("typing.TYPE_CHECKING", True):
        for name in ("srd.distillation.divergences", "srd.selection.ranking", "srd.selection.weights"):
            importlib.import_module(name)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden values and real data beside the checkout; tests that need it skip without."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: no golden values or real data to test against")
    return SHARED


@pytest.fixture(scope="session")
def code() -> Any:
    """The default limits, where there are walls for generated code to be executed behind."""
    from srd.config import Code
    from srd.errors import UserError
    from srd.metrics.walls import walls

    try:
        walls(Code())
    except UserError as error:
        pytest.skip(str(error))
    return Code()


def make_rows(count: int) -> list[dict[str, str]]:
    """Small instruction data: every row different, lengths varied."""
    words = ["red", "green", "blue", "small", "large", "round", "heavy", "light", "old", "new"]
    return [
        {
            "instruction": f"Describe thing {i} {words[i % 10]}",
            "input": "in few words" if i % 3 == 0 else "",
            "output": " ".join(words[(i + j) % 10] for j in range(2 + i % 5)),
        }
        for i in range(count)
    ]


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", make_rows(40))


Cli = Callable[..., subprocess.CompletedProcess[str]]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "srd", *words]


def environment() -> dict[str, str]:
    """One thread a process: two workers share two cores, and floats must not depend on it."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}


def forked(*words: str, cwd: Path) -> BaseProcess:
    """`srd` at work in a process forked from one that has done its imports: they take longer than what most tests look
    at.

    Its output is in `cwd`, in files named stdout and stderr.
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["srd.cli", "srd.stages.distill", "srd.stages.reflect"])
    process = forks.Process(target=_main_in, args=(words, cwd))
    process.start()
    return process


def _main_in(words: tuple[str, ...], cwd: Path) -> None:
    from srd.cli import main

    os.chdir(cwd)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environment())
    sys.exit(main(list(words)))


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run `srd` in a process of its own; asserts the expected exit code and shows stderr when it differs."""

    def run(*words: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        process = forked(*words, cwd=cwd)
        process.join(timeout=300)
        process.kill()
        process.join()
        printed, messages = ((cwd / name).read_text() for name in ("stdout", "stderr"))
        assert process.exitcode == code, f"srd {' '.join(words)} ended with {process.exitcode}:\n{printed}\n{messages}"
        return subprocess.CompletedProcess(command(*words), code, printed, messages)

    return run


@pytest.fixture(scope="session")
def smoke(data_file: Path) -> list[str]:
    """Overrides of the smallest real run."""
    return ["debug=smoke", "dataset=jsonl", f"dataset.path={data_file}", "engine=cpu"]
