"""harness: lm-eval asks a checkpoint the standard suites; its results are read with their standard errors.

A program of its own in an environment of its own (Biderman et al. 2024, arXiv 2405.14782): its packages for mathematics
and Hydra need different versions of antlr4-python3-runtime.
"""

import json
import math
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srd.config import Engine, Harnessed, Weights
from srd.errors import UserError
from srd.runtime.program import last_line, run_program
from srd.runtime.progress import say
from srd.stages.scored import Scored, choose_weights
from srd.store.artefacts import Work
from srd.store.files import put, remove
from srd.store.rows import TaskScore, write_rows

INSTALL = "python -m venv .lm-eval && .lm-eval/bin/pip install 'lm-eval[hf,ifeval,math]'"
PROGRAM = "evaluate.harness.program"
ERROR = r"^[\w.]*(Error|Exception|Exit)\b"
"""What the last line of a traceback begins with."""
UNKNOWN = re.compile(r"Tasks? not found: (.*)|No tasks? (?:specified|found)", re.IGNORECASE)


@dataclass(kw_only=True)
class Settings(Scored):
    """What decides the program's scores; its own version is recorded."""

    tasks: list[str]
    shots: int | None = None
    limit: int | None = None
    local: str | None = None
    """Digest of the folder with tasks of one's own."""


def make(work: Work[Settings, Harnessed]) -> None:
    """Leave `harness.jsonl`, one row a task and metric, and the program's own `results.json`."""
    program, raw, log = _found(work.context.harness.program), work.path / "raw", work.path / "log.txt"
    command = [program, *arguments(work.settings, work.context, work.engine, _weights(work), raw)]
    remove(raw)
    say(f"{work.node}  {Path(program).name} is at work; what it says is in {log}")
    threads = {"OMP_NUM_THREADS": str(work.engine.threads)} if work.engine.threads is not None else {}
    code = run_program(command, log, threads, lambda line: say(f"harness: {line[-100:]}"))
    if code != 0:
        raise UserError(_failure(work.settings, code, log, command))
    rows, about = _read(raw, log, command)
    write_rows(work.path / "harness.jsonl", rows)
    put(next(iter(raw.rglob("results_*.json"))), work.path / "results.json")
    work.leaves |= {"harness.jsonl", "results.json"}
    work.ledger["program"] = about


def _found(program: str) -> str:
    """The program's file, absolute."""
    path = shutil.which(os.path.expanduser(program))
    if path is None:
        raise UserError(
            f"{PROGRAM}={program}: no such program; lm-eval needs an environment of its own: {INSTALL}, "
            f"then {PROGRAM}=.lm-eval/bin/lm_eval"
        )
    return os.path.abspath(path)


def arguments(
    settings: Settings, context: Harnessed, engine: Engine, weights: dict[str, Any], output: Path
) -> list[str]:
    """The command line of lm-eval; the model's arguments as JSON, for a path may hold a comma."""
    side, place = context.pair.side(settings.role), context.harness.include_path
    model = {**weights, "dtype": side.dtype, **({"trust_remote_code": True} if side.trust_remote_code else {})}
    words = ["--model", "hf", "--model_args", json.dumps(model), "--tasks", ",".join(settings.tasks)]
    words += ["--output_path", str(output.absolute()), "--batch_size", str(engine.generation_sequences)]
    # Left away, the program takes a GPU where there is one, as `auto` does here.
    words += ["--device", engine.device] if engine.device != "auto" else []
    words += ["--include_path", os.path.abspath(place)] if place is not None else []
    words += ["--num_fewshot", str(settings.shots)] if settings.shots is not None else []
    words += ["--limit", str(settings.limit)] if settings.limit is not None else []
    return [*words, "--apply_chat_template"] if settings.text.template == "chat" else words


def _weights(work: Work[Settings, Harnessed]) -> dict[str, Any]:
    """Where the program finds the weights: as they lie, or written out whole for it."""
    choose_weights(work)
    role, side = work.settings.role, work.context.pair.side(work.settings.role)
    tuned = work.inputs[role] / "model" if role in work.inputs else None
    folder = work.inputs.get("checkpoint", tuned)
    if folder is not None and not (folder / "adapter_config.json").is_file():
        return {"pretrained": str(folder.absolute())}
    if folder is None and _is_plain(side):
        is_folder = Path(str(side.name)).is_dir()
        return {"pretrained": os.path.abspath(str(side.name))} if is_folder else _on_hub(side)
    return {"pretrained": str(_written(work, role).absolute())}


def _is_plain(side: Weights) -> bool:
    """Whether the weights are those of a folder or the hub, unchanged."""
    return side.name is not None and not (side.layers or side.adapter or side.gguf_file)


def _on_hub(side: Weights) -> dict[str, Any]:
    return {"pretrained": side.name, **({"revision": side.revision} if side.revision is not None else {})}


def _written(work: Work[Settings, Harnessed], role: str) -> Path:
    """The folder of a model that is nowhere whole: an adapter folded in, layers taken out, random weights."""
    from srd.models.checkpoints import save_model
    from srd.models.load import load_model, load_tokenizer

    tokenizer = load_tokenizer(work.context.pair, work.inputs)
    seed = work.settings.identity.get("seed")
    model = load_model(work.context.pair, role, work.inputs, tokenizer, Engine(device="cpu"), seed)
    save_model(model, tokenizer, work.path / "model")
    return work.path / "model"


def _failure(settings: Settings, code: int, log: Path, command: list[str]) -> str:
    """Why the program did not end well, in one line."""
    said = last_line(log, ERROR) or last_line(log) or f"ended with {code}"
    if match := UNKNOWN.search(said):
        unknown = match[1] or ", ".join(settings.tasks)
        return (
            f"evaluate.harness.tasks={settings.tasks}: lm-eval has no {unknown}; `{command[0]} ls tasks` lists what it "
            f"has, evaluate.harness.include_path=FOLDER adds your own; by hand: {shlex.join(command)}"
        )
    how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
    return f"{PROGRAM}={command[0]}: {how} ({said[:200]}), more in {log}; by hand: {shlex.join(command)}"


def _read(raw: Path, log: Path, command: list[str]) -> tuple[list[TaskScore], dict[str, str]]:
    """The rows of the program's results, and which versions made them."""
    files = sorted(raw.rglob("results_*.json"))
    try:
        written = json.loads(files[-1].read_text(encoding="utf-8"))
        rows = rows_of(written)
    except (IndexError, OSError, ValueError, KeyError, TypeError, AttributeError):
        rows, written = [], {}
    if not rows:
        raise UserError(
            f"{PROGRAM}={command[0]}: left no results that can be read in {raw}, more in {log}; expected those of "
            f"lm-eval 0.4; by hand: {shlex.join(command)}"
        )
    names = ("lm_eval_version", "transformers_version")
    return rows, {name: str(written[name]) for name in names if name in written}


def rows_of(results: dict[str, Any]) -> list[TaskScore]:
    """One row a task, metric and filter of what lm-eval writes: `METRIC,FILTER` beside `METRIC_stderr,FILTER`."""
    rows = []
    for task, found in results["results"].items():
        for key, value in found.items():
            metric, comma, filter = key.partition(",")
            if not comma or metric.endswith("_stderr") or not _is_number(value):
                continue
            stderr = found.get(f"{metric}_stderr,{filter}")
            rows.append(
                TaskScore(
                    task=task,
                    metric=metric,
                    filter=filter,
                    value=float(value),
                    stderr=float(stderr) if _is_number(stderr) else None,
                    samples=results.get("n-samples", {}).get(task, {}).get("effective"),
                    version=str(results.get("versions", {}).get(task, "")),
                    shots=results.get("n-shot", {}).get(task),
                    higher_is_better=results.get("higher_is_better", {}).get(task, {}).get(metric),
                )
            )
    return rows


def _is_number(value: Any) -> bool:
    """What is no number ("N/A") is not one here; neither is a bootstrap of one question, which gives NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
