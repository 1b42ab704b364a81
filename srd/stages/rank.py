"""rank: signals to an order of difficulty."""

from srd.config import Config
from srd.selection.ranking import REFLECTED, difficulties, rank
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.columns import read_columns, write_columns


def make(cfg: Config, work: Work) -> None:
    settings = work.node.settings
    samples = read_samples(work, "train") if "samples" in work.inputs else []
    kinds = {"id": str, **{signal: float for signal in settings["signals"] if signal in REFLECTED}}
    reflections = (
        read_columns(work.inputs["reflections"] / "reflections.jsonl", kinds) if "reflections" in work.inputs else {}
    )
    values = difficulties(settings["signals"], samples, reflections, settings.get("seed", 0))
    write_columns(work.path / "ranking.jsonl", rank(values, settings["rrf_k"]))
