"""Random numbers of a row's positions: they depend on the seed, the step and the row alone, never on the batch."""

import hashlib

import numpy as np
from jaxtyping import Float


def row_numbers(seed: int, step: int, id: str, *shape: int) -> Float[np.ndarray, "*shape"]:
    """Numbers in [0, 1) of a row in a step; of one that lasts for all steps, step 0."""
    word = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8])
    return np.random.default_rng([seed, step, word]).random(shape)
