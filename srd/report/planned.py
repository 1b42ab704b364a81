"""What was planned against what was measured, stage by stage; and how faithful the teacher's cache is."""

from pathlib import Path
from typing import Any

from srd.report.tables import Cells
from srd.store.manifests import ancestry, long_name

NOTE = (
    "The plan: what `srd plan` estimated before the run, what was measured, and how many times the first the second "
    "is; the measured memory is the largest of the process so far."
)


def planned_table(outputs: Path, entries: list[dict[str, Any]]) -> Cells | None:
    """One line an artefact that was planned: seconds, FLOPs and peak memory; nothing where no run of the study has a
    plan.

    An evaluation is planned over all suites together, so it has a line only where there is one suite.
    """
    lines: dict[str, list[str]] = {}
    for entry in entries:
        names = [entry["distill"], *(name for suites in entry["evaluations"].values() for name in suites.values())]
        for manifest in (
            manifest for name in names if (outputs / name).is_dir() for manifest in ancestry(outputs, name)
        ):
            ledger, stage = manifest["ledger"], long_name(manifest["stage"], manifest["settings"])
            plan = entry.get("planned", {}).get(stage)
            if plan is not None and (manifest["stage"] != "evaluate" or _suites(entry) == 1):
                pairs = [(plan["seconds"], ledger["seconds"]), (plan["flops"], ledger["flops"])]
                memory = f"{plan['memory_bytes'] / 1e9:.2f}, {ledger['peak_memory_bytes'] / 1e9:.2f}"
                times = [f"{a:.3g}, {b:.3g} ({_times(b, a)})" for a, b in pairs]
                lines.setdefault(f"{stage}/{manifest['fingerprint']}", [stage, entry["arm"], *times, memory])
    header = ["stage", "first planned by", "seconds", "FLOPs", "peak GB"]
    return (header, list(lines.values())) if lines else None


def fidelity(outputs: Path, entries: list[dict[str, Any]]) -> list[str]:
    """One sentence a teacher cache: how far its logits are from the online teacher's."""
    found = {}
    for entry in entries:
        for manifest in ancestry(outputs, entry["distill"]) if (outputs / entry["distill"]).is_dir() else ():
            if manifest["stage"] == "cache":
                name = f"{manifest['stage']}/{manifest['fingerprint']}"
                found[name] = (
                    f"Teacher {name}, states in {manifest['settings']['dtype']}: KL(online teacher ‖ cached) is "
                    f"{manifest['ledger']['fidelity_kl_nats']:.1e} nats per token on a slice of its samples."
                )
    return [found[name] for name in sorted(found)]


def _suites(entry: dict[str, Any]) -> int:
    """Suites that a target was scored on; a plan sums over them."""
    return max(len(suites) for suites in entry["evaluations"].values())


def _times(measured: float, planned: float) -> str:
    return f"{measured / planned:.2f}×" if planned else "not planned"
