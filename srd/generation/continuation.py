"""An answer in the making, and what reads prompts and goes on from them.

Axes: B rows, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@dataclass
class Continuation:
    """An answer in the making; `index` is its prompt's number among those asked."""

    index: int
    prompt: list[int]
    begin: list[int]
    """What stands before the answer in the decoder's text: the prompt, or the token that starts it where an encoder
    reads the prompt."""
    ids: list[int] = field(default_factory=list)

    @property
    def text(self) -> list[int]:
        """What the decoder has read and written."""
        return self.begin + self.ids

    @property
    def num_tokens(self) -> int:
        return len(self.begin) + len(self.ids)


Choose = Callable[[Float[Tensor, "B V"], list[Continuation]], Int[Tensor, " B"]]
"""From logits and their rows to the next id of each row."""


@runtime_checkable
class ModelReader(Protocol):
    """A model with what it has kept of the rows that are being answered, in their order."""

    def begin(self, prompt: list[int]) -> list[int]:
        """What stands before an answer to `prompt` in the decoder's text."""
        ...

    def read(self, rows: list[Continuation]) -> Float[Tensor, "B V"]:
        """Read the prompts of new rows, behind those at hand: the logits behind them."""
        ...

    def step(self, rows: list[Continuation]) -> Float[Tensor, "B V"]:
        """Feed every row its last id: the logits behind it."""
        ...

    def replace(self, holes: list[int], movers: list[int], rows: int) -> None:
        """Move the rows `movers` into the `holes`; the first `rows` rows stay."""
        ...
