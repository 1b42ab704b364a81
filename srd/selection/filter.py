"""Who stays: the easiest share of a ranking."""

import math

import numpy as np
from jaxtyping import Bool, Int

from srd.errors import UserError
from srd.store.columns import Columns


def easiest(ranking: Columns, keep: float) -> Columns:
    """The first ⌊λN⌋ of the columns `id, rank`, in their order; none left is a `UserError`."""
    # λN may be a whole number that floats put just below itself (0.29 · 100 = 28.999…): it must not lose a sample.
    count = math.floor(len(ranking["rank"]) * keep + 1e-9)
    if count == 0:
        raise UserError(f"filter.keep={keep}: no samples left of {len(ranking['rank'])}; raise it or use more data")
    return chosen(ranking, np.argsort(ranking["rank"])[:count])


def chosen(ranking: Columns, rows: Int[np.ndarray, " kept"] | Bool[np.ndarray, " N"]) -> Columns:
    """The rows of the columns with these indices, or where `rows` holds."""
    return {name: values[rows] for name, values in ranking.items()}
