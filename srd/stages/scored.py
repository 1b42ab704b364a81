"""The checkpoint that a score is of: the teacher, the student before distillation, or the distilled student."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srd.config import Pair, Text
from srd.stages.inputs import Loaded, read_model
from srd.store.artefacts import Work


@dataclass(kw_only=True)
class Scored:
    """What says which weights are scored."""

    target: str
    """teacher, student (before distillation) or distill."""
    text: Text
    teacher: dict[str, Any] | None = None
    """Identity of the teacher's weights, where it is scored."""
    student: dict[str, Any] | None = None
    """Identity of the student's weights before distillation."""
    checkpoint: str = "best"
    """Distilled weights: best or last."""

    @property
    def role(self) -> str:
        return "student" if self.target == "distill" else self.target

    @property
    def identity(self) -> dict[str, Any]:
        """Of the weights before any training."""
        return self.teacher or self.student or {}


def read_scored(work: Work[Any, Pair]) -> Loaded:
    """The model that a stage scores."""
    choose_weights(work)
    return read_model(work, work.settings.role, work.settings.identity)


def choose_weights(work: Work[Any, Any]) -> None:
    """Of a distilled student's folders the one that is scored becomes the stage's input."""
    if "checkpoint" in work.inputs:
        work.inputs["checkpoint"] = distilled_weights(work.inputs["checkpoint"], work.settings.checkpoint)


def distilled_weights(folder: Path, which: str) -> Path:
    """The folder of the distilled weights: the best by the dev split, or those of the last phase."""
    if which == "best":
        return folder / "best"
    return max(folder.glob("phase-*"), key=lambda path: int(path.name.removeprefix("phase-")))
