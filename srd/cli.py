"""`srd WORD [overrides]`: the first word chooses what to do, Hydra composes the rest into a `Config`.

Nothing heavy is imported before a stage needs it. A user's mistake is one line and exit code 2; an
interrupt is exit code 130; whatever was done stays and the same command continues.
"""

import errno
import logging
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TextIO

from srd.errors import UserError, nearest, wants_traceback
from srd.pipeline.catalogue import STAGES


@dataclass(frozen=True)
class Command:
    """What a first word does."""

    help: str
    function: str
    """`module:function`, imported when the word is said."""
    composed: bool = True
    """Whether Hydra reads the rest of the line; else the function gets its words."""


COMMANDS = {
    "run": Command("whole pipeline; reuses every finished artefact", "srd.commands.run:run"),
    **{name: Command(s.help, "srd.commands.run:run_stage") for name, s in STAGES.items() if not s.on_demand},
    "plan": Command("memory, disk and time of every stage, before the run", "srd.commands.plan:plan"),
    "table": Command("a table of a paper: all its arms, then its report", "srd.commands.report:table", composed=False),
    "report": Command("a study as a page (srd report STUDY --open)", "srd.commands.report:report", composed=False),
    "show": Command(
        "look into an artefact, or two rankings (srd show rank/A rank/B)", "srd.commands.show:show", composed=False
    ),
    "ls": Command(
        "what there is: experiments, models, datasets, methods, artefacts", "srd.commands.ls:ls", composed=False
    ),
}

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file size limit is reached; raise it (ulimit -f)",
    errno.EACCES: "no permission; choose another folder with outputs=FOLDER",
    errno.EPERM: "not permitted; choose another folder with outputs=FOLDER",
    errno.EROFS: "read-only file system; choose another folder with outputs=FOLDER",
    errno.ENOTDIR: "not a folder; choose another folder with outputs=FOLDER",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EISDIR: "a folder is in the place of a file; delete it",
    errno.EEXIST: "a file is in the way; choose another folder with outputs=FOLDER",
}


def program() -> None:
    """The program: `main`, and an end that an interrupt no longer disturbs."""
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == 130:
        # An interrupt inside code that is executed from a string (a dataclass in the making) is remembered by the
        # interpreter although it was handled: it would end by the signal, whatever the exit code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    _quiet_libraries()
    try:
        code = _main(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _leave(sys.stdout)
        return 141
    except OSError as error:  # what stdout holds back can be written no more than the rest
        _leave(sys.stdout)
        return _fail(f"stdout: {DISK_ERRORS.get(error.errno or 0, error.strerror)}", 2)


def _open_streams() -> None:
    """Streams that take every text: a closed one swallows it, and one that cannot write a letter writes its code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # lives as long as the program
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _quiet_libraries() -> None:
    """Keep what the libraries say of themselves off the terminal, here and in processes that this one starts; whoever
    asks for warnings (python -W, PYTHONWARNINGS) gets them."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.warnoptions and not wants_traceback():
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        warnings.simplefilter("ignore")
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # an error is told by the one that had it


def _leave(stream: TextIO) -> None:
    """Send what the stream still holds nowhere, so that the interpreter's end does not stumble over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from srd import __version__

        print(f"srd {__version__}")
        return 0
    try:
        _require_folder()
        return dispatch(words[0], words[1:])
    except UserError as error:
        return _fail(str(error).splitlines()[0], 2)  # OmegaConf adds lines of its own to errors it passes on
    except KeyboardInterrupt:
        return _fail("interrupted; the same command continues", 130)
    except BrokenPipeError:
        raise
    except Exception as error:  # the one place that catches everything: nobody is to meet a traceback
        if wants_traceback():
            raise
        return _fail(*_unexpected(error, words))


def _require_folder() -> None:
    """A `UserError` where the working directory has been deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working directory is gone; go to one that is there (cd) and run it again") from None


def _unexpected(error: Exception, words: list[str]) -> tuple[str, int]:
    """The line for an error that no command answers itself, and the exit code."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        what = f"{error.filename or 'writing'}: {DISK_ERRORS[error.errno]}"
        return f"{what} and run the same command again; nothing finished is lost", 2
    if isinstance(error, MemoryError):
        return (
            "out of memory; lower engine.micro_batch_tokens or take smaller models (`srd plan` says what it takes)",
            2,
        )
    from srd.commands.crash import keep_traceback

    return keep_traceback(error, words), 1


def dispatch(word: str, rest: list[str]) -> int:
    """Hand the rest of the line to the command that `word` names."""
    if word not in COMMANDS:
        raise UserError(f"unknown command '{word}'; {nearest(word, COMMANDS)}")
    command = COMMANDS[word]
    if "-h" in rest or "--help" in rest:
        print(f"srd {word}: {command.help}\n\n{usage()}")
        return 0
    module, _, name = command.function.partition(":")
    function = getattr(import_module(module), name)
    if not command.composed:
        function(rest)
        return 0
    from srd.commands.compose import run_hydra

    run_hydra(word, rest, partial(function, word) if word in STAGES else function)
    return 0


def usage() -> str:
    """The help text."""
    lines = [
        "srd: selective knowledge distillation of language models",
        "",
        "  srd COMMAND [key=value …] [group=option …] [-m] [--cfg job]",
        "",
        *(f"  {word:<10} {command.help}" for word, command in COMMANDS.items()),
        "",
        "  srd run                              the embedded default, on a laptop",
        "  srd run experiment=NAME              a row of a table (srd ls experiment)",
        "  srd run -m filter.keep=0.5,0.75,1.0  a sweep; what arms share is made once",
        "  srd run --cfg job                    the whole config, without running",
        "",
        "The same command again continues what was interrupted; artefacts: outputs/.",
    ]
    return "\n".join(lines)


def _fail(line: str, code: int) -> int:
    print(f"srd: {line}", file=sys.stderr)
    return code
