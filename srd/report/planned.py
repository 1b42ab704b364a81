"""What was planned against what was measured, stage by stage; and how faithful the teacher's cache is."""

from collections.abc import Iterator
from typing import Any

from srd.report.study import Run
from srd.report.tables import Cells
from srd.store.manifests import ancestry, long_name

NOTE = (
    "The plan: what srd plan estimated before the run, what was measured, and how many times the first the second "
    "is; the measured memory is the largest of the process so far."
)

PER_SUITE = ("evaluate", "likelihood")
"""Stages with an artefact a suite."""


def planned_table(runs: list[Run]) -> Cells | None:
    """One line an artefact that was planned: seconds, FLOPs and peak memory; nothing where no run of the study has a
    plan.

    An evaluation is planned over all suites together, so it has a line only where there is one suite.
    """
    lines: dict[str, list[str]] = {}
    for run in runs:
        for manifest in _manifests(run):
            ledger, stage = manifest["ledger"], long_name(manifest["stage"], manifest["settings"])
            plan = run.planned.get(stage)
            if plan is not None and (manifest["stage"] not in PER_SUITE or _suites(run) == 1):
                pairs = [(plan["seconds"], ledger["seconds"]), (plan["flops"], ledger["flops"])]
                memory = f"{plan['memory_bytes'] / 1e9:.2f}, {ledger['peak_memory_bytes'] / 1e9:.2f}"
                times = [f"{planned:.3g}, {measured:.3g} ({_times(measured, planned)})" for planned, measured in pairs]
                lines.setdefault(f"{stage}/{manifest['fingerprint']}", [stage, run.arm, *times, memory])
    header = ["stage", "first planned by", "seconds", "FLOPs", "peak GB"]
    return (header, list(lines.values())) if lines else None


def _manifests(run: Run) -> Iterator[dict[str, Any]]:
    """Of the distilled student, of the scores, and of everything that they were made from."""
    yield from run.lineage
    kinds = (run.evaluations, run.likelihoods)
    for artefact in (artefact for kind in kinds for suites in kind.values() for artefact in suites.values()):
        if (run.outputs / artefact).is_dir():
            yield from ancestry(run.outputs, artefact)


def fidelity(runs: list[Run]) -> list[str]:
    """One sentence a teacher cache: how far its logits are from the online teacher's."""
    caches = {each["fingerprint"]: each for run in runs for each in run.lineage if each["stage"] == "cache"}
    return [
        f"Teacher cache/{fingerprint}, {_kept(manifest)}; on a slice of its samples."
        for fingerprint, manifest in sorted(caches.items())
    ]


def _kept(manifest: dict[str, Any]) -> str:
    """What a cache keeps of a position, and how far that is from the online teacher."""
    settings, ledger = manifest["settings"], manifest["ledger"]
    size = f"{ledger['bytes_per_position']:,} bytes a position, " if "bytes_per_position" in ledger else ""
    if "classes" not in settings:
        kl = f"KL(online teacher ‖ cached) is {ledger['fidelity_kl_nats']:.1e} nats per token"
        return f"states in {settings['dtype']}: {size}{kl}"
    classes = ", ".join(f"{value:g} {name}" for name, value in settings["classes"].items() if name != "seed")
    drawn = "kl_used_online_nats" in ledger
    pair = "used ‖ online teacher" if drawn else "online teacher ‖ used"
    kl = ledger["kl_used_online_nats" if drawn else "fidelity_kl_nats"]
    share = f"{100 * ledger['kept_probability']:.1f} % of its probability kept"
    return f"{settings['signal']} classes ({classes}): {size}KL({pair}) is {kl:.1e} nats per token, {share}"


def _suites(run: Run) -> int:
    """Suites that a target was scored on; a plan sums over them."""
    return max(len(suites) for kind in (run.evaluations, run.likelihoods) for suites in kind.values())


def _times(measured: float, planned: float) -> str:
    return f"{measured / planned:.2f}×" if planned else "not planned"
