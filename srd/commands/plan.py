"""`srd plan`: what a run will need, before it."""

from dataclasses import replace
from pathlib import Path

from srd.commands.terminal import clock, print_table, size
from srd.config import Config, Plan
from srd.errors import UserError, look_up
from srd.pipeline import graph
from srd.pipeline.begin import begin
from srd.pipeline.make import make
from srd.pipeline.scoring import scores
from srd.plan.estimate import estimate, refuse_unfit
from srd.plan.lengths import Folders
from srd.plan.machines import GPUS
from srd.plan.needs import RunEstimate
from srd.runtime.progress import say
from srd.store.artefacts import Node, closure, require
from srd.store.manifests import long_name, read_manifest


def plan(cfg: Config) -> None:
    """Print the needs of every stage, its largest, and whether the run fits."""
    if cfg.plan.gpu is not None:
        look_up(GPUS, cfg.plan.gpu, "plan.gpu")
    cfg = begin(cfg, planning=True)
    run = _estimate(cfg)
    needs, n = run.to_do(), run.lengths
    devices = f"{run.gpus} x {run.machine.name}" if run.gpus > 1 else run.machine.name
    print(
        f"{n.samples:,} samples of {n.prompt:.0f} + {n.response:.0f} tokens (the longest {n.longest}), "
        f"{sum(n.test_samples.values()):,} test rows; teacher {run.teacher.parameters / 1e6:,.1f} M parameters, "
        f"student {run.student.parameters / 1e6:,.1f} M; {devices} at {cfg.plan.utilisation:.0%} of its speed"
    )
    there = [need.stage for need in run.needs() if need.stage in run.finished]
    if there:
        print(f"there already: {', '.join(there)}")
    if not needs:
        return
    most = max(needs, key=lambda need: need.memory_bytes)
    disk, flops, seconds = (sum(getattr(need, name) for need in needs) for name in ("disk_bytes", "flops", "seconds"))
    lines = [[x.stage, size(x.memory_bytes), size(x.disk_bytes), f"{x.flops:.2e}", clock(x.seconds)] for x in needs]
    lines.append(["all", size(most.memory_bytes), size(disk), f"{flops:.2e}", clock(seconds)])
    print_table(["stage", "memory", "disk", "FLOPs", "time"], lines)
    if run.cfg.filter.is_auto:
        print(f"filter.keep=auto: {cfg.filter.rule} chooses λ later, at most 1, which these sums assume")
    if cfg.filter.weights is not None:
        print(f"filter.weights={cfg.filter.weights} drops what weighs nothing: distill needs this much at most")
    parts = sorted(most.memory.items(), key=lambda part: -part[1])
    print(f"most memory, {most.stage}: " + ", ".join(f"{name} {size(held)}" for name, held in parts))
    refuse_unfit(run)


def planned_needs(cfg: Config) -> dict[str, dict[str, float]]:
    """The plan of a run as its study files it, by stage; a run that seems not to fit is told so and goes on, for a
    plan may err."""
    needs = []
    try:
        run = _estimate(cfg)
        needs = run.needs()
        refuse_unfit(run)
    except UserError as error:
        say(f"the plan says: {error}")
    keys = ("seconds", "flops", "memory_bytes", "disk_bytes")
    return {need.stage: {key: getattr(need, key) for key in keys} for need in needs}


def _estimate(cfg: Config) -> RunEstimate:
    folders, there = _folders(cfg), finished(cfg)
    return estimate(_with_chosen_share(cfg), folders, there)


def _with_chosen_share(cfg: Config) -> Config:
    """The config with the λ that a rule has chosen; where it has not yet, all samples may stay."""
    if not cfg.filter.is_auto or cfg.plan != Plan():
        return cfg
    node = graph.filter(cfg)
    if not node.is_complete(cfg.outputs):
        return cfg
    chosen = read_manifest(node.folder(cfg.outputs))["ledger"]["chosen"]
    return replace(cfg, filter=replace(cfg.filter, keep=chosen["keep"]))


def _folders(cfg: Config) -> Folders:
    """The samples and the tokenizer that lengths are measured on, made where they are missing and `plan.*` does not
    say enough."""
    given = None not in (cfg.plan.samples, cfg.plan.prompt_tokens, cfg.plan.response_tokens)
    suites = () if cfg.plan.test_samples else cfg.evaluate.suites
    tokenizers = {} if given else graph.tokenizer(cfg)
    return Folders(
        samples=None if given else _made(cfg, graph.rows(cfg)),
        tests={name: _made(cfg, graph.suite(cfg, name)) for name in suites},
        tokenizer={name: _made(cfg, node) for name, node in tokenizers.items()},
        pair=graph.pair(cfg),
    )


def _made(cfg: Config, node: Node) -> Path:
    return require(node, cfg.outputs) if node.is_complete(cfg.outputs) else make(cfg, node)


def finished(cfg: Config) -> frozenset[str]:
    """The stages whose artefacts are there; none in a plan for other data or another machine, nor where the data is
    not at hand."""
    if cfg.plan != Plan():
        return frozenset()
    try:
        nodes = closure([graph.distill(cfg), *scores(cfg)])
    except UserError:
        return frozenset()
    names = [(long_name(node.stage, node.settings), node.is_complete(cfg.outputs)) for node in nodes]
    return frozenset(name for name, _ in names) - {name for name, complete in names if not complete}
