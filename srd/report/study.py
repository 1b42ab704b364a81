"""A study: the runs that one report compares, each filed under its arm and the fingerprint of its distilled student."""

import hashlib
from collections import Counter
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from srd.config import Config, Distill, check_study
from srd.errors import UserError, nearest
from srd.metrics import CRITERIA, Metric
from srd.pipeline import graph, scoring
from srd.runtime.progress import say
from srd.store.files import replace_text
from srd.store.locks import hold
from srd.store.manifests import ancestry
from srd.store.seals import seal, unseal

LOCK = ".lock"


@dataclass(frozen=True)
class Filed:
    """What a study's file says of a run."""

    arm: str
    model: str
    method: str
    seed: int
    curated: bool
    versus: list[str]
    published: str | None
    distill: str
    """The distilled student, as stage/fingerprint."""
    evaluations: dict[str, dict[str, str]]
    """Scores as stage/fingerprint, by target and suite."""
    planned: dict[str, dict[str, float]]
    """What the plan expected of every stage."""
    select_by: str = Distill.select_by
    likelihoods: dict[str, dict[str, str]] = field(default_factory=dict)
    """Likelihoods, likewise, of the suites that were read."""
    harness: dict[str, list[str]] = field(default_factory=dict)
    """What lm-eval said, by target; several where it was asked several times."""
    pass_at: list[int] = field(default_factory=list)
    """The k of the pass@k that its report shows."""


@dataclass(frozen=True)
class Run(Filed):
    """A run of a study with the manifests of what it made, each read once."""

    outputs: Path = Path("outputs")

    @property
    def folder(self) -> Path:
        """The distilled student."""
        return self.outputs / self.distill

    @property
    def is_distilled(self) -> bool:
        """False for an arm that was only evaluated before distillation."""
        return self.folder.is_dir()

    def scored(self, target: str) -> dict[str, str]:
        """What a target's suites are told apart by: their scores, or the likelihoods of those without."""
        answered, read = self.evaluations.get(target, {}), self.likelihoods.get(target, {})
        return answered | {suite: artefact for suite, artefact in read.items() if suite not in answered}

    @cached_property
    def lineage(self) -> list[dict[str, Any]]:
        """Manifests of the distilled student and of everything that it was made from."""
        return list(ancestry(self.outputs, self.distill)) if self.is_distilled else []

    def folders(self, stage: str) -> list[Path]:
        """Artefacts of a stage that the distilled student was made from."""
        return [self.outputs / stage / each["fingerprint"] for each in self.lineage if each["stage"] == stage]


def in_order(runs: list[Run]) -> list[Run]:
    """Plain arms first, then by name and training seed."""
    return sorted(runs, key=lambda run: (run.curated, run.arm, run.seed))


def headline(runs: list[Run]) -> tuple[str, Metric]:
    """The metric of a report's intervals, differences and plots: the one that chose the weights of its runs."""
    names = list(dict.fromkeys(run.select_by for run in in_order(runs)))
    if len(names) > 1:
        say(f"the runs chose their weights by {' and '.join(names)}; the report compares them by {names[0]}")
    return names[0], CRITERIA[names[0]]


def file_run(cfg: Config, planned: dict[str, dict[str, float]] | None = None) -> None:
    """Write down which artefacts belong to this run of the study, and what was planned before they were made; none
    leaves the plan that is filed."""
    distilled = graph.distill(cfg)
    path = entry_file(cfg)
    before = _read_entry(path) if path.is_file() else {}
    if planned is None and before:
        planned = before["planned"]
    filed = Filed(
        arm=cfg.arm_name,
        model=cfg.model.name,
        method=cfg.method.name,
        seed=cfg.distill.seed,
        curated=cfg.is_curated,
        versus=cfg.versus,
        published=cfg.published,
        distill=str(distilled),
        evaluations={target: _evaluations(cfg, target) for target in cfg.evaluate.targets},
        planned=planned or {},
        select_by=cfg.distill.select_by,
        likelihoods={target: _likelihoods(cfg, target) for target in cfg.evaluate.targets},
        harness=_asked(cfg, before.get("harness", {})),
        pass_at=cfg.evaluate.pass_at,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold(path.parent.parent / LOCK, f"study {cfg.study}"):
        replace_text(path, seal(asdict(filed), indent=1))


def _evaluations(cfg: Config, target: str) -> dict[str, str]:
    """Scores of the suites that have prompts."""
    suites = [name for name in cfg.evaluate.suites if scoring.is_answered(cfg, name)]
    return {name: str(scoring.evaluate(cfg, target, name)) for name in suites}


def _likelihoods(cfg: Config, target: str) -> dict[str, str]:
    """Likelihoods of the suites that the run reads, and of those that somebody has had read."""
    nodes = {name: scoring.likelihood(cfg, target, name) for name in cfg.evaluate.suites}
    return {
        name: str(node) for name, node in nodes.items() if scoring.is_read(cfg, name) or node.is_complete(cfg.outputs)
    }


def _asked(cfg: Config, before: dict[str, list[str]]) -> dict[str, list[str]]:
    """What lm-eval has said of every target: what is filed already, and what is there for this config."""
    found = {target: list(artefacts) for target, artefacts in before.items()}
    if not (Path(cfg.outputs) / "harness").is_dir():
        return found
    for target in cfg.evaluate.targets:
        node, artefacts = scoring.harness(cfg, target), found.setdefault(target, [])
        if node.is_complete(cfg.outputs) and str(node) not in artefacts:
            artefacts.append(str(node))
    return found


def entry_file(cfg: Config) -> Path:
    """Where the run is filed: by the fingerprint of its student, and by its arm, for two may share a student."""
    name = _entry_name(str(graph.distill(cfg)), cfg.arm_name)
    return study_folder(cfg.outputs, cfg.study) / "runs" / name


def _entry_name(distilled: str, arm: str) -> str:
    return f"{distilled.partition('/')[2]}-{hashlib.sha256(arm.encode()).hexdigest()[:6]}.json"


def _read_entry(path: Path) -> dict[str, Any]:
    """What a study's file says, if it is as it was written and in its place; else a `UserError`."""
    entry = unseal(path)
    names = {each.name for each in fields(Filed)}
    # What a run need not have is younger than some entries.
    needed = {each.name for each in fields(Filed) if each.default is MISSING and each.default_factory is MISSING}
    if entry is None or not needed <= entry.keys() <= names or path.name != _entry_name(entry["distill"], entry["arm"]):
        raise UserError(
            f"{path}: damaged, changed, or of an older srd; delete it and run `srd run study={path.parent.parent.name}`"
            " with its settings again, which makes nothing anew that is there"
        )
    return entry


def study_folder(outputs: str | Path, study: str) -> Path:
    """The folder of a study; a name that is not one of a folder in `outputs/report` is a `UserError`."""
    check_study(study)
    return Path(outputs) / "report" / study


def read_study(outputs: Path, study: str) -> list[Run]:
    """The filed runs of a study, arms in the order of their names; an unknown study is a `UserError`."""
    folder = study_folder(outputs, study) / "runs"
    entries = sorted(folder.glob("*.json"))
    if not entries:  # also one whose first run was killed before it was filed
        known = sorted({path.parent.parent.name for path in Path(outputs).glob("report/*/runs/*.json")})
        raise UserError(
            f"unknown study '{study}' in {outputs}; {nearest(study, known)}; `srd run study={study}` starts one"
        )
    filed = [_read_entry(path) for path in entries]
    return with_distinct_arms([Run(**entry, outputs=outputs) for entry in filed], folder)


def with_distinct_arms(runs: list[Run], folder: Path) -> list[Run]:
    """Runs of one arm and seed but different settings get the fingerprint into their names, so that none hides
    another."""
    count = Counter((run.arm, run.seed) for run in runs)
    twice = {arm for (arm, _), number in count.items() if number > 1}
    for arm in sorted(twice):
        say(
            f"arm '{arm}' was run with different settings; each is a row; name them with arm=… or delete old entries "
            f"in {folder}"
        )
    return [
        replace(run, arm=f"{run.arm} ({short_fingerprint(run.distill)})") if run.arm in twice else run for run in runs
    ]


def short_fingerprint(artefact: str) -> str:
    """The beginning of a fingerprint, which tells two artefacts of a study apart."""
    return artefact.partition("/")[2][:6]
