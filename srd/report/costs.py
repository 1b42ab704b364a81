"""What an arm cost, from the ledgers of its artefacts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srd.store.manifests import ancestry

SHARED = ("samples", "tokenizer", "finetune")
"""Stages that every arm of a study starts from; their cost is stated apart."""


@dataclass
class Cost:
    """What an arm spent, from the ledgers of its artefacts, mean over its training runs."""

    sample_passes: float = 0
    training_tokens: float = 0
    seconds: float = 0
    flops: float = 0
    seconds_by_stage: dict[str, float] = field(default_factory=dict)


def cost_of(outputs: Path, names: list[str], target: str) -> Cost:
    """Mean cost over training runs of everything an arm needs beyond what all arms share."""
    cost = Cost()
    for name in names:
        for manifest in _own(outputs, name, target):
            ledger, share = manifest["ledger"], 1 / len(names)
            cost.sample_passes += share * ledger.get("sample_passes", 0)
            cost.training_tokens += share * ledger.get("training_tokens", 0)
            cost.flops += share * ledger.get("flops", 0)
            cost.seconds += share * ledger["seconds"]
            stage = manifest["stage"]
            cost.seconds_by_stage[stage] = cost.seconds_by_stage.get(stage, 0) + share * ledger["seconds"]
    return cost


def _own(outputs: Path, name: str, target: str) -> list[dict[str, Any]]:
    """Manifests of an arm's own artefacts; of a teacher or student before distillation, its fine-tuning."""
    chain = list(ancestry(outputs, name))
    if target == "distill":
        return [manifest for manifest in chain if manifest["stage"] not in SHARED]
    return [
        manifest for manifest in chain if manifest["stage"] == "finetune" and manifest["settings"]["role"] == target
    ]
