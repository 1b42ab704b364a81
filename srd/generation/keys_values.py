"""Keys and values of the rows that are being answered.

Those of all rows end at the same column, so that one step writes one column, in place; what lies left of a row's first
token is masked. Columns that no row uses any more are not read.

Axes: B rows, K key-value heads, C columns, W those a step reads, D and E size of the keys' and values' heads.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

# A move reads and writes all keys and values once, which is what the attention of one or two steps reads of them: one
# move in 64 steps costs little, and so does the memory of 64 columns.
SPARE_COLUMNS = 64
"""Columns set aside at once: between two moves of everything lie as many steps."""


@dataclass
class Window:
    """What the next step reads of the store: the first `rows` rows of the columns [low, high)."""

    rows: int = 0
    low: int = 0
    high: int = 0


class KeyValueLayer(DynamicLayer):
    """One layer's keys and values [B, K, C, D]; a step writes column `high` of every row and reads from `low` on."""

    # The library's own layer grows by `torch.cat`: every step would copy the keys and values of all rows once more, so
    # that an answer of n tokens copies n times. Here a step writes one column of a tensor that is already there.
    #
    # Rows are aligned at their end because then that column is the same for all of them, however long they are: the
    # write is one slice, not an index for each row, and no kernel need know of lengths. A mask hides the columns left
    # of a row's first token, and position ids come from lengths, so alignment changes no result.

    def __init__(self, window: Window, like: DynamicLayer) -> None:
        super().__init__()
        assert isinstance(like.keys, Tensor)
        assert isinstance(like.values, Tensor)
        self.window = window
        self.is_initialized = True
        # Keys and values are measured apart: with latent attention (DeepSeek) their heads differ in size.
        self.keys = like.keys.new_zeros(0, like.keys.shape[1], 0, like.keys.shape[3])
        self.values = like.values.new_zeros(0, like.values.shape[1], 0, like.values.shape[3])

    def update(
        self,
        key_states: Float[Tensor, "B K 1 D"],
        value_states: Float[Tensor, "B K 1 E"],
        *arguments: object,
        **named: object,
    ) -> tuple[Float[Tensor, "B K W D"], Float[Tensor, "B K W E"]]:
        """Write the new column; returns what attention reads, as views of the store."""
        assert self.keys is not None
        assert self.values is not None
        rows, low, high = self.window.rows, self.window.low, self.window.high
        self.keys[:rows, :, high] = key_states[:, :, 0]
        self.values[:rows, :, high] = value_states[:, :, 0]
        # `high` moves on only when all layers have written (`KeyValueStore.written`): they share one window.
        return self.keys[:rows, :, low : high + 1], self.values[:rows, :, low : high + 1]

    def get_seq_length(self) -> int:
        return self.window.high - self.window.low

    def move(self, rows: int, high: int) -> None:
        """Copy what is in use into new storage for `rows` rows, ending at column `high`, with spare columns after
        it."""
        window = self.window
        for name in ("keys", "values"):
            old = getattr(self, name)
            # Zeros, because attention gives a masked column the weight 0, and 0 times what uninitialised memory may
            # hold (NaN, infinity) is NaN.
            new = old.new_zeros(rows, old.shape[1], high + SPARE_COLUMNS, old.shape[3])
            new[: window.rows, :, high - (window.high - window.low) : high] = old[
                : window.rows, :, window.low : window.high
            ]
            setattr(self, name, new)


class KeyValueStore(Cache):
    """The keys and values of the rows that are being answered."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.window = Window()

    def admit(self, prefilled: DynamicCache, copies: Int[Tensor, " B"]) -> None:
        """Add rows behind the present ones: row i gets what `prefilled` holds for its prompt `copies[i]`."""
        window = self.window
        width = prefilled.get_seq_length()
        if not self.layers:
            self.layers = [KeyValueLayer(window, layer) for layer in prefilled.layers]  # pyright: ignore
        rows = window.rows + len(copies)
        stored_rows = self._stored.shape[0]
        # The new prompts may be longer than all that the rows at hand have: room is made on the left, by moving.
        if rows > stored_rows or width > window.high:
            self._move(max(rows, stored_rows), max(window.high - window.low, width))
        columns = slice(window.high - width, window.high)  # prompts end where all rows end
        for layer, new in zip(self.layers, prefilled.layers, strict=True):
            layer.keys[window.rows : rows, :, columns] = new.keys[copies]  # pyright: ignore
            layer.values[window.rows : rows, :, columns] = new.values[copies]  # pyright: ignore
        window.low = min(window.low, columns.start) if window.rows else columns.start
        window.rows = rows

    def look_back(self, columns: int) -> None:
        """Let the next step read the last `columns` columns, and have a column to write to."""
        # The longest row may have left: what lies before the longest of those that stay is read no more.
        self.window.low = self.window.high - columns
        if self.window.high == self._stored.shape[2]:
            self._move(self.window.rows, columns)

    def written(self) -> None:
        """All layers have written their column."""
        self.window.high += 1

    def replace(self, holes: list[int], movers: list[int], rows: int) -> None:
        """Move the rows `movers` into the `holes`; the first `rows` rows stay."""
        window = self.window
        if holes:
            for layer in self.layers:
                for stored in (layer.keys, layer.values):  # pyright: ignore
                    stored[holes, :, window.low : window.high] = stored[movers, :, window.low : window.high]  # pyright: ignore
        window.rows = rows

    def in_use(self) -> Cache:
        """What the next step reads, as a cache whose layers hold it (a view), for who reads and does not write."""
        window, layers = self.window, []
        for stored in self.layers:
            layer = DynamicLayer()
            layer.is_initialized = True
            layer.keys = stored.keys[: window.rows, :, window.low : window.high]  # pyright: ignore
            layer.values = stored.values[: window.rows, :, window.low : window.high]  # pyright: ignore
            layers.append(layer)
        return Cache(layers=layers)

    @property
    def _stored(self) -> Float[Tensor, "B K C D"]:
        return self.layers[0].keys  # pyright: ignore

    def _move(self, rows: int, high: int) -> None:
        for layer in self.layers:
            layer.move(rows, high)  # pyright: ignore
        self.window.low, self.window.high = high - (self.window.high - self.window.low), high


def mask_of(lengths: list[int], device: torch.device) -> Int[Tensor, "B C"]:
    """The mask of rows of some lengths that all end at the last column."""
    columns = max(lengths)
    begins = columns - torch.tensor(lengths, device=device).unsqueeze(1)
    return (torch.arange(columns, device=device) >= begins).long()
