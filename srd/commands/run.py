"""`srd run`, and one stage by its own word."""

from pathlib import Path

from srd.config import Config
from srd.metrics import CRITERIA
from srd.pipeline.begin import begin
from srd.pipeline.catalogue import STAGES
from srd.pipeline.commanded import commanded
from srd.pipeline.make import make, make_all
from srd.pipeline.scoring import scores
from srd.report.study import entry_file, file_run, study_folder
from srd.runtime.progress import say
from srd.store.artefacts import closure
from srd.store.manifests import file_of, read_manifest
from srd.store.rows import Score, read_rows


def run_stage(stage: str, cfg: Config) -> None:
    """Make the artefacts of one stage's command; their inputs that have a command must be there."""
    cfg = begin(cfg)
    for node in commanded(stage, cfg):
        print(make(cfg, node))
    if STAGES[stage].reported:
        if entry_file(cfg).is_file():
            file_run(cfg)
        else:
            say(f"{stage}: `srd run` with the same overrides files it under study={cfg.study}")


def run(cfg: Config) -> None:
    """The whole pipeline for one arm; a finished one is only filed again."""
    study_folder(cfg.outputs, cfg.study)  # its name is wrong before the work, not after
    cfg = begin(cfg)
    nodes = scores(cfg)
    missing = [node for node in closure(nodes) if not node.is_complete(cfg.outputs)]
    planned = None
    # Also for a run that is whole and not filed: it was killed between the two.
    if missing or not entry_file(cfg).is_file():
        from srd.commands.plan import planned_needs  # loads torch, which a run with nothing to do is spared

        planned = planned_needs(cfg)
    if missing:
        make_all(cfg, nodes)
    else:
        say(f"{cfg.arm_name}: nothing to do, all {len(closure(nodes))} artefacts are there")
    file_run(cfg, planned)
    print_scores(cfg)


def print_scores(cfg: Config) -> None:
    """One line a checkpoint, suite and kind of score: what a run has to show for itself."""
    for node in scores(cfg):
        folder = node.folder(cfg.outputs)
        shown = _likelihood(folder) if node.stage == "likelihood" else _answers(folder, cfg.distill.select_by)
        target = cfg.arm_name if node.settings["target"] == "distill" else node.settings["target"]
        print(f"{target:<28} {node.settings['suite']:<12} {shown}   {node}")


def _answers(folder: Path, name: str) -> str:
    rows, metric = read_rows(file_of(folder, "scores.jsonl"), Score), CRITERIA[name]
    mean = metric.scale * sum(row.value(name) for row in rows) / len(rows)
    return f"{metric.column} {mean:6.2f}   {len(rows)} answers"


def _likelihood(folder: Path) -> str:
    found = read_manifest(folder)["ledger"]["likelihood"]
    return f"perplexity {found['perplexity']:.2f}, ECE {100 * found['ece']:.2f} %   {found['positions']:,} positions"
