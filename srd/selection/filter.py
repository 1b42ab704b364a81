"""Who stays: the easiest share of a ranking."""

import math

import numpy as np

from srd.errors import UserError
from srd.store.columns import Columns


def kept_count(samples: int, keep: float) -> int:
    """⌊λN⌋, where rounding of λ as a float takes no sample away (0.7 · 10 is 7)."""
    return math.floor(samples * keep + 1e-9)


def easiest(ranking: Columns, keep: float) -> Columns:
    """The first ⌊λN⌋ of the columns `id, rank`, in their order; none left is a `UserError`."""
    count = kept_count(len(ranking["rank"]), keep)
    if count == 0:
        raise UserError(f"filter.keep={keep}: no samples left of {len(ranking['rank'])}; raise it or use more data")
    return chosen(ranking, np.argsort(ranking["rank"])[:count])


def chosen(ranking: Columns, rows: np.ndarray) -> Columns:
    """Some rows of the columns, by index or by truth value."""
    return {name: values[rows] for name, values in ranking.items()}
