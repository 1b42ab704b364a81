"""A study: the runs that one report compares, each filed under its arm and training seed."""

import json
import re
from pathlib import Path
from typing import Any

from srd import graph
from srd.artefacts import closure, replace_text
from srd.config import Config
from srd.errors import UserError, nearest
from srd.progress import say
from srd.stages import make_all


def run(cfg: Config) -> None:
    """The whole pipeline for one arm; a finished one is only filed again."""
    nodes = graph.evaluations(cfg)
    missing = [node for node in closure(nodes) if not node.is_complete(cfg.outputs)]
    if missing:
        make_all(cfg, nodes)
    else:
        say(f"{cfg.arm_name}: nothing to do, all {len(closure(nodes))} artefacts are there")
    file_run(cfg)
    from srd.report.scores import print_run

    print_run(cfg)


def file_run(cfg: Config) -> None:
    """Write down which artefacts belong to this arm and seed of the study; a rerun replaces the entry."""
    entry = {
        "arm": cfg.arm_name,
        "model": cfg.model.name,
        "method": cfg.method.name,
        "seed": cfg.distill.seed,
        "curated": cfg.is_curated,
        "distill": str(graph.distill(cfg)),
        "evaluations": {
            target: {name: str(graph.evaluate(cfg, target, name)) for name in cfg.evaluate.suites} for target in cfg.evaluate.targets
        },
    }
    folder = study_folder(cfg.outputs, cfg.study) / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9.]+", "-", cfg.arm_name.lower()).strip("-")
    replace_text(folder / f"{slug}.seed-{cfg.distill.seed}.json", json.dumps(entry, indent=1, ensure_ascii=False) + "\n")


def study_folder(outputs: str | Path, study: str) -> Path:
    return Path(outputs) / "report" / study


def read_study(outputs: Path, study: str) -> list[dict[str, Any]]:
    """The filed runs of a study, arms in the order of their names; an unknown study is a `UserError`."""
    folder = study_folder(outputs, study) / "runs"
    if not folder.is_dir():
        known = [path.parent.name for path in Path(outputs).glob("report/*/runs")]
        raise UserError(f"unknown study '{study}' in {outputs}; {nearest(study, known)}; `srd run study={study}` starts one")
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
