"""partition: the kept samples cut into the phases of the curriculum."""

from dataclasses import dataclass

from srd.config import Curriculum
from srd.selection.curricula import CURRICULA
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.columns import read_columns
from srd.store.rows import Phase, write_rows


@dataclass
class Settings:
    """What decides the phases; a curriculum that does not read a setting does not have it here."""

    curriculum: str
    phases: int
    sizes: list[float] | None = None
    replay: float = 0.0
    seed: int = 0
    weighted: bool = False
    """Whether the samples that stay have weights."""


def cut(ids: list[str], settings: Settings) -> list[list[str]]:
    """The samples of every phase, from the samples, easiest first; a `UserError` for too few."""
    read = Curriculum(settings.curriculum, settings.phases, settings.sizes, settings.replay, seed=settings.seed)
    return CURRICULA[settings.curriculum](ids, read)


def make(work: Work[Settings, None]) -> None:
    """Leave `phases.jsonl`."""
    settings = work.settings
    weights: dict[str, float] = {}
    if "selection" in work.inputs:
        kinds = {"id": str, **({"weight": float} if settings.weighted else {})}
        kept = read_columns(work.inputs["selection"] / "selection.jsonl", kinds)
        ids = kept["id"].tolist()
        weights = dict(zip(ids, kept["weight"].tolist(), strict=True)) if settings.weighted else {}
    else:
        ids = [sample.id for sample in read_samples(work, "train")]
    phases = cut(ids, settings)
    work.leaves.add("phases.jsonl")
    each = (lambda part: [weights[id] for id in part]) if weights else (lambda part: None)
    rows = [Phase(index, part, each(part)) for index, part in enumerate(phases)]
    write_rows(work.path / "phases.jsonl", rows)
