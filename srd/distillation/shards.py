"""What a teacher cache keeps, on disk: a few large files, every row's place known from the lengths alone.

Axes: R positions of one row, W numbers kept of a position.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from srd.store.files import remove
from srd.text.encoding import Encoded

# A few large files, not one a row or one in all: a file system is slow with a million of the former, and one of 100 GB
# is hard to move.
SHARD_BYTES = 1 << 30
PIECE_BYTES = 1 << 24


def layout(rows: list[Encoded], bytes_each: int) -> tuple[list[dict[str, Any]], list[int]]:
    """Where every row's positions go: index entries, and the number of positions in each shard of at most
    `SHARD_BYTES` (or one row)."""
    # Known from the lengths alone, before the first pass: so every process can write its rows where they belong, in any
    # order, and a row that is written twice after a kill lands in the same bytes.
    index: list[dict[str, Any]] = []
    shards = [0]
    for row in rows:
        if shards[-1] and (shards[-1] + row.num_supervised) * bytes_each > SHARD_BYTES:
            shards.append(0)
        index.append({"id": row.id, "shard": len(shards) - 1, "first": shards[-1], "tokens": token_hash(row)})
        shards[-1] += row.num_supervised
    return index, shards


def token_hash(row: Encoded) -> str:
    """16 hex digits over a row's ids, where its response begins, and which of its tokens are not learned."""
    unlearned = [-1 - place for place in row.unlearned]  # no id is negative, so these are told from ids
    ids = np.array([len(row.prompt), *row.prompt, *row.response, *unlearned], dtype="<i8")
    return hashlib.sha256(ids.tobytes()).hexdigest()[:16]


def write_states(states: Shaped[Tensor, "R W"], entry: dict[str, Any], folder: Path) -> None:
    """Put what is kept of a row where its index entry says."""
    shard = folder / shard_name(entry["shard"])
    shard.touch()
    with shard.open("r+b") as file:
        file.seek(entry["first"] * states.shape[1] * states.dtype.itemsize)
        file.write(states.contiguous().view(torch.uint8).numpy().tobytes())


def shard_name(number: int) -> str:
    return f"states-{number:05d}.raw"


class Written:
    """How much of the shards is written, in the order of the layout, and the SHA-256 of that."""

    def __init__(self, folder: Path, shards: list[int], bytes_each: int) -> None:
        self.folder = folder
        self._ends = np.cumsum(shards).tolist()
        self._bytes_each = bytes_each
        self._positions = 0
        self._hash = hashlib.sha256()

    @property
    def mark(self) -> dict[str, Any]:
        """What `restore` goes back to, as JSON can hold it."""
        return {"positions": self._positions, "sha256": self._hash.hexdigest()}

    def extend(self, positions: int) -> None:
        """Count in the next positions: they are on disk now, whichever process has written them."""
        for place, first, count in self._pieces(self._positions + positions):
            left = count * self._bytes_each
            if place.is_file():
                with place.open("rb") as file:
                    file.seek(first * self._bytes_each)
                    while left > 0 and (piece := file.read(min(left, PIECE_BYTES))):
                        self._hash.update(piece)
                        left -= len(piece)
        self._positions += positions

    def restore(self, mark: dict[str, Any] | None) -> bool:
        """Cut off what was written after the mark; False, with all of it deleted, where the rest is not what the mark
        says."""
        self.extend(mark["positions"] if mark else 0)
        holds = mark is None or self._hash.hexdigest() == mark["sha256"]
        kept = self._positions if holds else 0
        for place in self.folder.glob("states-*"):
            numbers = [number for number in range(len(self._ends)) if shard_name(number) == place.name]
            before = self._ends[numbers[0] - 1] if numbers and numbers[0] > 0 else 0
            if numbers and kept > before:
                os.truncate(place, min(kept - before, self._ends[numbers[0]] - before) * self._bytes_each)
            else:
                remove(place)
        if not holds:
            self._positions, self._hash = 0, hashlib.sha256()
        return holds

    def _pieces(self, end: int) -> Iterator[tuple[Path, int, int]]:
        """The files of the positions up to `end` that are not counted yet: first position and their number in each."""
        before = 0
        for number, ends in enumerate(self._ends):
            first, last = max(self._positions, before), min(end, ends)
            if first < last:
                yield self.folder / shard_name(number), first - before, last - first
            before = ends
