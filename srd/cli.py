"""`srd WORD [overrides]`: the first word chooses what to do, Hydra composes the rest into a `Config`.

Nothing heavy is imported before a stage needs it. A user's mistake is one line and exit code 2; an
interrupt is exit code 130; whatever was done stays and the same command continues.
"""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srd.errors import UserError, nearest

STAGES = {
    "run": "whole pipeline; reuses every finished artefact",
    "finetune": "fine-tune the teacher or warm-start the student (role=teacher|student)",
    "reflect": "the student answers the training prompts",
    "rank": "order the samples by difficulty",
    "filter": "drop the hardest",
    "partition": "cut the rest into curriculum phases",
    "plan": "memory, disk and time of every stage, before the run",
    "cache": "keep what enters the teacher's head, once for all arms",
    "distill": "train the student on the teacher, phase by phase",
    "evaluate": "score teacher, student and distilled student",
}
VIEWS = {
    "report": "tables and plots of a study (srd report STUDY)",
    "show": "look into an artefact (srd show STAGE/FINGERPRINT)",
    "ls": "what there is: experiments, models, datasets, methods, artefacts",
}
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file size limit is reached; raise it (ulimit -f)",
    errno.EACCES: "no permission; choose another folder with outputs=FOLDER",
    errno.EPERM: "not permitted; choose another folder with outputs=FOLDER",
    errno.EROFS: "read-only file system; choose another folder with outputs=FOLDER",
    errno.ENOTDIR: "not a folder; choose another folder with outputs=FOLDER",
    errno.EEXIST: "a file is in the way; choose another folder with outputs=FOLDER",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        code = _main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from srd import __version__

        print(f"srd {__version__}")
        return 0
    try:
        return dispatch(words[0], words[1:])
    except UserError as error:
        return _fail(str(error).splitlines()[0], 2)  # OmegaConf adds lines of its own to errors it passes on
    except KeyboardInterrupt:
        return _fail("interrupted; the same command continues", 130)
    except OSError as error:
        if error.errno not in DISK_ERRORS or os.environ.get("HYDRA_FULL_ERROR"):
            raise
        return _fail(
            f"{error.filename or 'writing'}: {DISK_ERRORS[error.errno]} and run the same command again; nothing "
            "finished is lost",
            2,
        )


def dispatch(word: str, rest: list[str]) -> int:
    """Hand the rest of the line to the stage or view that `word` names."""
    if word in VIEWS:
        from srd import views

        views.VIEWS[word](rest)
    elif word in STAGES:
        if rest in (["-h"], ["--help"]):
            print(f"srd {word}: {STAGES[word]}\n\n{usage()}")
        else:
            from srd.compose import run_hydra

            run_hydra(word, rest, lambda cfg: run_stage(word, cfg))
    else:
        raise UserError(f"unknown command '{word}'; {nearest(word, [*STAGES, *VIEWS])}")
    return 0


def run_stage(word: str, cfg: Any) -> None:
    """Make the artefacts of a command under a checked config."""
    from srd import graph, stages
    from srd.store.artefacts import prepare

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            f"WORLD_SIZE={os.environ['WORLD_SIZE']}: srd starts its processes itself; leave torchrun or accelerate "
            "launch away and "
            f"add engine.processes={os.environ['WORLD_SIZE']}"
        )
    prepare(cfg.outputs)
    if word in ("run", "plan", "cache", "distill", "evaluate"):
        stages.settle_teacher(cfg, planning=word == "plan")
    one: dict[str, Callable[[Any], Any]] = {
        "reflect": graph.reflect,
        "filter": graph.filter,
        "partition": graph.partition,
        "cache": graph.cache,
        "distill": graph.distill,
    }
    if word == "run":
        from srd.studies import run

        run(cfg)
    elif word == "plan":
        from srd.views import plan

        plan(cfg)
    elif word in ("evaluate", "rank"):
        for node in graph.evaluations(cfg) if word == "evaluate" else graph.rankings(cfg):
            print(stages.make(cfg, node))
    else:
        node = graph.finetune(cfg, cfg.role) if word == "finetune" else one[word](cfg)
        print(stages.make(cfg, node))


def usage() -> str:
    """The help text."""
    lines = [
        "srd: selective knowledge distillation of language models",
        "",
        "  srd COMMAND [key=value …] [group=option …] [-m] [--cfg job]",
        "",
        *(f"  {word:<10} {text}" for word, text in {**STAGES, **VIEWS}.items()),
        "",
        "  srd run                                    the embedded default: tiny models, Python's own docstrings",
        "  srd run experiment=NAME                    a row of a paper's table (srd ls experiment)",
        "  srd run -m filter.keep=0.5,0.75,1.0        a sweep; what the arms share is made once",
        "  srd run --cfg job                          the whole config, without running",
        "",
        "The same command again continues what was interrupted. Artefacts are in outputs/.",
    ]
    return "\n".join(lines)


def outputs_of(rest: list[str]) -> tuple[Path, list[str]]:
    """The outputs folder of a command that Hydra does not read (`outputs=…`), and its other words."""
    chosen = [word.removeprefix("outputs=") for word in rest if word.startswith("outputs=")]
    return Path(chosen[-1] if chosen else "outputs"), [word for word in rest if not word.startswith("outputs=")]


def _fail(line: str, code: int) -> int:
    print(f"srd: {line}", file=sys.stderr)
    return code
