"""What an arm cost, from the ledgers of its artefacts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from srd.pipeline.catalogue import STAGES


@dataclass
class Cost:
    """What an arm spent, from the ledgers of its artefacts, mean over its training runs."""

    sample_passes: float = 0
    training_tokens: float = 0
    seconds: float = 0
    flops: float = 0
    seconds_by_stage: dict[str, float] = field(default_factory=dict)
    seconds_by_part: dict[str, float] = field(default_factory=dict)
    """The same seconds by what they went into: loading of models, checks, dev evaluation, the work itself."""


def mean_cost(lineages: list[Iterable[dict[str, Any]]]) -> Cost:
    """Mean over training runs of the costs in each run's manifests."""
    cost = Cost()
    for manifests in lineages:
        for manifest in manifests:
            ledger, share = manifest["ledger"], 1 / len(lineages)
            cost.sample_passes += share * ledger.get("sample_passes", 0)
            cost.training_tokens += share * ledger.get("training_tokens", 0)
            cost.flops += share * ledger.get("flops", 0)
            cost.seconds += share * ledger["seconds"]
            stage = manifest["stage"]
            cost.seconds_by_stage[stage] = cost.seconds_by_stage.get(stage, 0) + share * ledger["seconds"]
            for part, seconds in ledger.get("seconds_by_part", {}).items():
                cost.seconds_by_part[part] = cost.seconds_by_part.get(part, 0) + share * seconds
    return cost


def of_arm(lineage: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Manifests of an arm's own artefacts: all but those of stages that every arm starts from."""
    return [manifest for manifest in lineage if not STAGES[manifest["stage"]].common]


def of_finetuning(lineage: Iterable[dict[str, Any]], role: str) -> list[dict[str, Any]]:
    """Of a teacher or a student before distillation: its fine-tuning."""
    return [each for each in lineage if each["stage"] == "finetune" and each["settings"]["role"] == role]
