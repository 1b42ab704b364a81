"""rank: reflections to an order of difficulty."""

from srd.artefacts import Work
from srd.config import Config
from srd.ranking import rank
from srd.rows import Reflection, read_rows, write_rows


def make(cfg: Config, work: Work) -> None:
    reflections = read_rows(work.inputs["reflections"] / "reflections.jsonl", Reflection)
    write_rows(work.path / "ranking.jsonl", rank(reflections, cfg.rank.signals, cfg.rank.rrf_k))
