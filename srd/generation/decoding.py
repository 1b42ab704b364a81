"""Decoding in slots that never stand idle: a finished row leaves the batch, a waiting one takes its slot.

The keys and values of all rows end at the same column, so that one step writes one column, in place;
what lies left of a row's first token is masked. Columns that no row uses any more are not read.

Axes: B rows, K key-value heads, C columns, W those a step reads, D and E size of the
keys' and values' heads, V vocabulary.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from srd.errors import UserError
from srd.models.heads import DECODES, arguments_of, unwrapped
from srd.text.batches import position_ids_of

# A move reads and writes all keys and values once, which is what the attention of one or two steps reads of them: one
# move in 64 steps costs little, and so does the memory of 64 columns.
SPARE_COLUMNS = 64
"""Columns set aside at once: between two moves of everything lie as many steps."""
# Reading prompts is a pass of its own, in which the rows at hand stand still. With one slot at a time it would be as
# many passes as prompts; waiting for more would leave slots empty for longer.
REFILL_SHARE = 8
"""Waiting prompts are read when one slot in so many is free."""


@dataclass
class Continuation:
    """An answer in the making; `index` is its prompt's number among those asked."""

    index: int
    prompt: list[int]
    ids: list[int] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.ids)


Choose = Callable[[Float[Tensor, "B V"], list[Continuation]], Int[Tensor, " B"]]
"""From logits and their rows to the next id of each row."""


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

    @property
    def _stored(self) -> Float[Tensor, "B K C D"]:
        return self.layers[0].keys  # pyright: ignore

    def _move(self, rows: int, high: int) -> None:
        for layer in self.layers:
            layer.move(rows, high)  # pyright: ignore
        self.window.low, self.window.high = high - (self.window.high - self.window.low), high


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: list[list[int]],
    choose: Choose,
    stops: set[int],
    max_new_tokens: int,
    slots: int,
    max_tokens: int,
    tick: Callable[[int], None] = lambda rows: None,
) -> list[list[int]]:
    """The ids that follow each prompt, up to the first of `stops` (included) or `max_new_tokens`, in the order of
    `prompts`.

    At most `slots` rows are answered at once; prompts are read in batches of at most `max_tokens` padded tokens,
    longest first, a prompt asked several times once a batch. A row's ids do not depend on the others, to float noise.
    `tick` hears of rows as they finish.
    """
    _check_layers(model)
    # Equal prompts stand side by side, so that they are read together; the longest come first, so that those which are
    # read together are of like length and the store seldom has to make room on the left.
    waiting = deque(sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), prompts[i], i)))
    store = KeyValueStore()
    rows: list[Continuation] = []
    finished: dict[int, list[int]] = {}
    refill = max(1, slots // REFILL_SHARE)
    while waiting or rows:
        free = slots - len(rows)
        if waiting and (free >= refill or not rows):
            new = _next(waiting, prompts, free, max_tokens)
            logits = _read(model, new, store)
            rows = rows + new
        else:
            new = rows
            logits = _step(model, rows, store)
        # One transfer for all rows: the ids have to be known here, because they decide who leaves.
        for row, id in zip(new, choose(logits, new).tolist(), strict=True):
            row.ids.append(id)
        done = {i for i, row in enumerate(rows) if row.ids[-1] in stops or len(row.ids) == max_new_tokens}
        finished |= {rows[i].index: rows[i].ids for i in done}
        tick(len(done))
        rows = _close_up(rows, done, store)
    return [finished[i] for i in range(len(prompts))]


def _next(waiting: deque[int], prompts: list[list[int]], free: int, max_tokens: int) -> list[Continuation]:
    """The next rows to read: as many as there are free slots and different prompts fit into `max_tokens` (or one)."""
    rows: list[Continuation] = []
    width = len(prompts[waiting[0]])  # the longest of those that wait
    different = 0
    while waiting and len(rows) < free:
        prompt = prompts[waiting[0]]
        if not rows or rows[-1].prompt != prompt:
            different += 1
        if rows and different * width > max_tokens:
            break
        rows.append(Continuation(waiting.popleft(), prompt))
    return rows


def _read(model: PreTrainedModel, rows: list[Continuation], store: KeyValueStore) -> Float[Tensor, "B V"]:
    """Read the prompts of new rows: the logits behind them."""
    # An evaluation asks every prompt once a seed: equal ones are read once, and their keys, values and logits copied.
    different = list(dict.fromkeys(tuple(row.prompt) for row in rows))
    width = max(len(prompt) for prompt in different)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in different], device=model.device)
    # Masked positions hold token 0, which nothing ever looks at.
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in different], device=model.device)
    prefilled = DynamicCache()
    texts = arguments_of(model, input_ids=ids, attention_mask=mask, position_ids=position_ids_of(mask))
    last = arguments_of(model, logits_to_keep=1)
    output = model(**texts, **last, past_key_values=prefilled, use_cache=True)
    if prefilled.get_seq_length() != width:
        raise UserError(
            f"{type(unwrapped(model)).__name__} keeps no keys and values of what it has read, which cannot be decoded "
            "here; choose a model that does"
        )
    number = {prompt: i for i, prompt in enumerate(different)}
    copies = torch.tensor([number[tuple(row.prompt)] for row in rows], device=model.device)
    store.admit(prefilled, copies)
    return output.logits[:, -1][copies]


def _step(model: PreTrainedModel, rows: list[Continuation], store: KeyValueStore) -> Float[Tensor, "B V"]:
    """Feed every row its last id: the logits behind it."""
    lengths = torch.tensor([row.num_tokens for row in rows], device=model.device).unsqueeze(1)
    columns = max(row.num_tokens for row in rows)
    store.look_back(columns - 1)
    # Aligned at the end: a row of n tokens is in the last n columns, the one to be written included.
    mask = (torch.arange(columns, device=model.device) >= columns - lengths).long()
    ids = torch.tensor([[row.ids[-1]] for row in rows], device=model.device)
    texts = arguments_of(model, input_ids=ids, attention_mask=mask, position_ids=lengths - 1)
    output = model(**texts, past_key_values=store, use_cache=True)
    store.written()
    return output.logits[:, -1]


def _close_up(rows: list[Continuation], done: set[int], store: KeyValueStore) -> list[Continuation]:
    """The rows that go on, those at the end moved into the slots of finished ones."""
    # Only as many rows are copied as have left a hole before the end. Order means nothing: `index` goes with a row.
    left = len(rows) - len(done)
    holes = [i for i in range(left) if i in done]
    movers = [i for i in range(left, len(rows)) if i not in done]
    store.replace(holes, movers, left)
    moved = dict(zip(holes, movers, strict=True))
    return [rows[moved.get(i, i)] for i in range(left)]


def _check_layers(model: PreTrainedModel) -> None:
    """A `UserError` for a model that remembers more than keys and values (state spaces, recurrence)."""
    # A state that sums up the past has no columns to align, mask or give up. A sliding window is stored like any other
    # layer: the model's own mask hides what has left the window.
    decodable = {DynamicLayer, DynamicSlidingWindowLayer}
    if not arguments_of(model, past_key_values=None):
        raise UserError(
            f"{type(unwrapped(model)).__name__} keeps no keys and values of the past, which cannot be decoded here; "
            "choose a model that does"
        )
    others = {type(layer) for layer in DynamicCache(config=unwrapped(model).config).layers} - decodable
    if not others and not getattr(unwrapped(model), DECODES, True):
        raise UserError(
            f"{type(unwrapped(model)).__name__} does not go on from its keys and values as from the whole text, which "
            "cannot be decoded here; choose another model"
        )
    if others:
        raise UserError(
            f"{type(model).__name__} keeps {others.pop().__name__} between tokens, which cannot be decoded here; "
            "choose a model with attention layers only"
        )
