"""partition: the selection cut into the phases of the curriculum."""

from srd.artefacts import Work
from srd.config import Config
from srd.rows import Phase, Selected, read_rows, write_rows
from srd.schedules import CURRICULA
from srd.stages.inputs import read_samples


def make(cfg: Config, work: Work) -> None:
    if "selection" in work.inputs:
        ids = [row.id for row in read_rows(work.inputs["selection"] / "selection.jsonl", Selected)]
    else:
        ids = [sample.id for sample in read_samples(work, "train")]
    phases = CURRICULA[work.node.settings["curriculum"]](ids, cfg.curriculum)
    write_rows(work.path / "phases.jsonl", [Phase(index, part) for index, part in enumerate(phases)])
