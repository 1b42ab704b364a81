"""partition: the selection cut into the phases of the curriculum."""

from srd.config import Config
from srd.selection.curricula import CURRICULA
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.columns import read_columns
from srd.store.rows import Phase, write_rows


def make(cfg: Config, work: Work) -> None:
    if "selection" in work.inputs:
        ids = read_columns(work.inputs["selection"] / "selection.jsonl", {"id": str})["id"].tolist()
    else:
        ids = [sample.id for sample in read_samples(work, "train")]
    phases = CURRICULA[work.node.settings["curriculum"]](ids, cfg.curriculum)
    write_rows(work.path / "phases.jsonl", [Phase(index, part) for index, part in enumerate(phases)])
