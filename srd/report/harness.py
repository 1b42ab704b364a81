"""What lm-eval said of the checkpoints of a study."""

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import Any

from srd.report.scores import TARGETS
from srd.report.study import Run, in_order, short_fingerprint
from srd.report.tables import Cells
from srd.runtime.progress import say
from srd.store.manifests import MANIFEST, file_of, read_manifest
from srd.store.rows import TaskScore, read_rows


@dataclass(frozen=True)
class Suite:
    """One metric of one task for one arm: over its training runs the mean of the values, and of their errors."""

    arm: str
    num_runs: int
    score: TaskScore
    fingerprints: list[str]


def suites_of(runs: list[Run]) -> list[Suite]:
    """Every arm's scores, task by task; teacher and student before distillation as the other tables name them."""
    found: dict[tuple[Any, ...], dict[str, tuple[str, TaskScore]]] = defaultdict(dict)
    for target in TARGETS:
        for run in in_order(runs):
            for artefact in _there(run, target):
                arm = run.arm if target == "distill" else _untrained(target, run, artefact, runs)
                who = _model(run, artefact, target)
                for row in read_rows(file_of(run.outputs / artefact, "harness.jsonl"), TaskScore):
                    # Other questions, or asked otherwise, are another line.
                    asked = row.task, row.metric, row.filter, row.version, row.shots, row.samples
                    found[(arm, *asked)][who] = artefact, row
    return [
        Suite(
            key[0], len(by_model), _mean([row for _, row in by_model.values()]), [name for name, _ in by_model.values()]
        )
        for key, by_model in found.items()
    ]


def _model(run: Run, artefact: str, target: str) -> str:
    """Whose score an artefact is."""
    manifest = read_manifest(run.outputs / artefact)
    role = "student" if target == "distill" else target
    return str([manifest["inputs"].get(name) for name in ("checkpoint", role)] + [manifest["settings"].get(role)])


def _untrained(target: str, run: Run, artefact: str, runs: list[Run]) -> str:
    """Name of a teacher's or untrained student's row; with its fingerprint where the study has several."""
    peers = [(other, each) for other in runs if other.model == run.model for each in _there(other, target)]
    several = len({_model(other, each, target) for other, each in peers}) > 1
    return f"{target} ({run.model})" + (f" {short_fingerprint(artefact)}" if several else "")


def _there(run: Run, target: str) -> list[str]:
    """The artefacts of a target that are still there; others are said."""
    filed = run.harness.get(target, [])
    gone = [name for name in filed if not (run.outputs / name / MANIFEST).is_file()]
    if gone:
        say(f"{run.arm}: {', '.join(gone)} is gone; `srd harness` makes it again")
    return [name for name in filed if name not in gone]


def _mean(rows: list[TaskScore]) -> TaskScore:
    """Of several training runs. Their questions are the same, so that their errors do not cancel: the mean of the
    standard errors is the most that the mean's can be."""
    errors = [row.stderr for row in rows if row.stderr is not None]
    stderr = sum(errors) / len(errors) if len(errors) == len(rows) else None
    return replace(rows[0], value=sum(row.value for row in rows) / len(rows), stderr=stderr)


def suite_table(runs: list[Run]) -> Cells | None:
    """One line an arm, task and metric; nothing where lm-eval was not asked."""
    lines = [[suite.arm, *cells_of(suite.score), str(suite.num_runs), suite.score.version] for suite in suites_of(runs)]
    header = ["", "task", "metric", "value", "± standard error", "n", "runs", "task version"]
    return (header, lines) if lines else None


def cells_of(row: TaskScore) -> tuple[str, str, str, str, str]:
    """Task, metric, value, standard error and number of questions, as tables show them."""
    name = row.metric if row.filter == "none" else f"{row.metric}, {row.filter}"
    direction = {True: " ↑", False: " ↓", None: ""}[row.higher_is_better]
    task = row.task if row.shots is None else f"{row.task}, {row.shots} shots"
    stderr = "" if row.stderr is None else f"{row.stderr:.4f}"
    return task, name + direction, f"{row.value:.4f}", stderr, "" if row.samples is None else f"{row.samples:,}"


def numbers_of(runs: list[Run]) -> list[dict[str, Any]]:
    """The same for `report.json`, digits and all."""
    return [
        {"arm": suite.arm, "num_runs": suite.num_runs, **asdict(suite.score), "fingerprints": suite.fingerprints}
        for suite in suites_of(runs)
    ]


def program_notes(runs: list[Run]) -> list[str]:
    """Which program the standard suites come from, and what its errors are."""
    artefacts = [run.outputs / name for run in runs for target in TARGETS for name in _there(run, target)]
    programs = [read_manifest(folder)["ledger"]["program"] for folder in artefacts]
    versions = sorted({program.get("lm_eval_version", "of unknown version") for program in programs})
    if not versions:
        return []
    return [
        f"Standard suites: lm-eval {' and '.join(versions)} (arXiv 2405.14782) with its standard errors, which are of "
        "the questions and not of training seeds; of several training runs means of both."
    ]
