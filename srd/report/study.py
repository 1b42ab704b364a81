"""A study: the runs that one report compares, each filed under its arm and the fingerprint of its distilled student."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from srd.config import Config
from srd.errors import UserError, nearest
from srd.pipeline import graph
from srd.runtime.progress import say
from srd.store.files import replace_text


def file_run(cfg: Config, planned: dict[str, dict[str, float]] | None = None) -> None:
    """Write down which artefacts belong to this run of the study, and what was planned before they were made; none
    leaves the plan that is filed."""
    distilled, suites = graph.distill(cfg), cfg.evaluate.suites
    entry = {
        "arm": cfg.arm_name,
        "model": cfg.model.name,
        "method": cfg.method.name,
        "seed": cfg.distill.seed,
        "curated": cfg.is_curated,
        "versus": cfg.versus,
        "published": cfg.published,
        "distill": str(distilled),
        "evaluations": {
            target: {name: str(graph.evaluate(cfg, target, name)) for name in suites} for target in cfg.evaluate.targets
        },
    }
    folder = study_folder(cfg.outputs, cfg.study) / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    arm = hashlib.sha256(cfg.arm_name.encode()).hexdigest()[:6]  # two arms may share a student
    path = folder / f"{distilled.fingerprint}-{arm}.json"
    if planned is None and path.is_file():
        planned = json.loads(path.read_text(encoding="utf-8")).get("planned")
    entry["planned"] = planned or {}
    replace_text(path, json.dumps(entry, indent=1, ensure_ascii=False) + "\n")


def study_folder(outputs: str | Path, study: str) -> Path:
    return Path(outputs) / "report" / study


def read_study(outputs: Path, study: str) -> list[dict[str, Any]]:
    """The filed runs of a study, arms in the order of their names; an unknown study is a `UserError`."""
    folder = study_folder(outputs, study) / "runs"
    if not folder.is_dir():
        known = [path.parent.name for path in Path(outputs).glob("report/*/runs")]
        raise UserError(
            f"unknown study '{study}' in {outputs}; {nearest(study, known)}; `srd run study={study}` starts one"
        )
    return with_distinct_arms(
        [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))], folder
    )


def with_distinct_arms(entries: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Entries of one arm and seed but different settings get the fingerprint into their names, so that none hides
    another."""
    count = Counter((entry["arm"], entry["seed"]) for entry in entries)
    twice = {arm for (arm, _), number in count.items() if number > 1}
    for arm in sorted(twice):
        say(
            f"arm '{arm}' was run with different settings; each is a row; name them with arm=… or delete old entries "
            f"in {folder}"
        )
    return [
        {**entry, "arm": f"{entry['arm']} ({entry['distill'][-16:-10]})"} if entry["arm"] in twice else entry
        for entry in entries
    ]
