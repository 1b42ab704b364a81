"""filter: the easiest share λ of the ranking stays, or as many by one signal or by chance."""

import math

from srd.artefacts import Work
from srd.config import Config
from srd.errors import UserError
from srd.rows import Selected, read_rows, write_rows


def easiest(ranking: list[Selected], keep: float) -> list[Selected]:
    """The first ⌊λN⌋ of the ranking; none left is a `UserError`."""
    count = math.floor(len(ranking) * keep + 1e-9)
    if count == 0:
        raise UserError(f"filter.keep={keep}: no samples left of {len(ranking)}; raise it or use more data")
    return sorted(ranking, key=lambda row: row.rank)[:count]


def make(cfg: Config, work: Work) -> None:
    ranking = read_rows(work.inputs["ranking"] / "ranking.jsonl", Selected)
    if "chooser" in work.inputs:
        chosen = {row.id for row in easiest(read_rows(work.inputs["chooser"] / "ranking.jsonl", Selected), cfg.filter.keep)}
        kept = sorted((row for row in ranking if row.id in chosen), key=lambda row: row.rank)
    else:
        kept = easiest(ranking, cfg.filter.keep)
    write_rows(work.path / "selection.jsonl", kept)
