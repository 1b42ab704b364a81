"""What the scores of references and the likelihoods have in common: rows read in full batches, to rows on disk."""

from collections.abc import Callable
from typing import Any

from srd.models.load import Size
from srd.runtime import processes
from srd.stages.costs import reading_counts
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick, fill
from srd.text.batches import pack
from srd.text.encoding import Encoded

BATCHES_A_SAVING = 16
"""Batches read between two savings: of so many only the last may not be full."""


def fill_readings(
    work: Work[Any, Any],
    name: str,
    rows: list[Encoded],
    readers: list[Size],
    read: Callable[[list[Encoded]], list[Any]],
) -> None:
    """Leave `name`: what `read` makes of each of `rows`, by id, at the cost of a pass of models with so many parameters
    each (see `partial.fill`)."""

    def compute(batch: list[Encoded], tick: Tick) -> tuple[list[Any], Counts]:
        made = read(batch)
        tick(len(batch))
        return made, reading_counts(batch, readers)

    block_tokens = BATCHES_A_SAVING * work.engine.micro_batch_tokens * processes.count()
    fill(work, name, rows, block_tokens, compute, lambda row: row["id"], lambda row: row.num_tokens, pack)
