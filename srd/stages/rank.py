"""rank: signals to an order of difficulty."""

from srd.artefacts import Work
from srd.config import Config
from srd.ranking import difficulties, rank
from srd.rows import Reflection, read_rows, write_rows
from srd.stages.inputs import read_samples


def make(cfg: Config, work: Work) -> None:
    settings = work.node.settings
    samples = read_samples(work, "train") if "samples" in work.inputs else []
    reflections = read_rows(work.inputs["reflections"] / "reflections.jsonl", Reflection) if "reflections" in work.inputs else []
    signals = difficulties(settings["signals"], samples, reflections, settings.get("seed", 0))
    write_rows(work.path / "ranking.jsonl", rank(signals, settings["rrf_k"]))
