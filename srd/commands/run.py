"""`srd run`, and one stage by its own word."""

from srd.config import Config
from srd.metrics import CRITERIA
from srd.pipeline import graph
from srd.pipeline.begin import begin
from srd.pipeline.make import make, make_all
from srd.report.study import entry_file, file_run, study_folder
from srd.runtime.progress import say
from srd.store.artefacts import closure
from srd.store.manifests import file_of
from srd.store.rows import Score, read_rows


def run_stage(stage: str, cfg: Config) -> None:
    """Make the artefacts of one stage's command; their inputs that have a command must be there."""
    for node in graph.commanded(stage, begin(cfg)):
        print(make(cfg, node))


def run(cfg: Config) -> None:
    """The whole pipeline for one arm; a finished one is only filed again."""
    study_folder(cfg.outputs, cfg.study)  # its name is wrong before the work, not after
    cfg = begin(cfg)
    nodes = graph.evaluations(cfg)
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
    """One line a checkpoint and suite: what a run has to show for itself."""
    for node in graph.evaluations(cfg):
        rows = read_rows(file_of(node.folder(cfg.outputs), "scores.jsonl"), Score)
        metric = CRITERIA[cfg.distill.select_by]
        mean = metric.scale * sum(row.value(cfg.distill.select_by) for row in rows) / len(rows)
        scored = "answers" if rows[0].metrics else "windows"
        target = cfg.arm_name if node.settings["target"] == "distill" else node.settings["target"]
        print(f"{target:<28} {node.settings['suite']:<12} {metric.column} {mean:6.2f}   {len(rows)} {scored}   {node}")
