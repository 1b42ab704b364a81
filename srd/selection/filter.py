"""Who stays: the easiest share of a ranking."""

import math

import numpy as np
from jaxtyping import Bool, Int

from srd.errors import UserError
from srd.store.columns import Columns


def kept_count(samples: int, keep: float) -> int:
    """⌊λN⌋."""
    # λN may be a whole number that floats put just below itself (0.29 · 100 = 28.999…): it must not lose a sample.
    return math.floor(samples * keep + 1e-9)


def easiest(ranking: Columns, keep: float) -> Columns:
    """The first ⌊λN⌋ of the columns `id, rank`, in their order; none left is a `UserError`."""
    count = kept_count(len(ranking["rank"]), keep)
    if count == 0:
        raise UserError(f"filter.keep={keep}: no samples left of {len(ranking['rank'])}; raise it or use more data")
    return chosen(ranking, np.argsort(ranking["rank"])[:count])


def chosen(ranking: Columns, rows: Int[np.ndarray, " kept"] | Bool[np.ndarray, " N"]) -> Columns:
    """The rows of the columns with these indices, or where `rows` holds."""
    return {name: values[rows] for name, values in ranking.items()}
