"""Decoding in places that never stand idle: a finished row leaves the batch, a waiting one takes its place.

The keys and values of all rows end at the same column, so that one step writes one column, in place;
what lies left of a row's first token is masked. Columns that no row uses any more are not read.

Axes: B rows, T prompt tokens, K key-value heads, C columns, D head size, V vocabulary.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from srd.errors import UserError
from srd.models.heads import unwrapped
from srd.text.batches import position_ids_of

SPARE_COLUMNS = 64
"""Columns set aside at once: between two moves of everything lie as many steps."""


@dataclass
class Continuation:
    """An answer in the making; `index` is its prompt's place among those asked."""

    index: int
    prompt: list[int]
    ids: list[int] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.ids)


Choose = Callable[[Tensor, list[Continuation]], Tensor]
"""From logits [B, V] and their rows to the next id of each row: [B]."""


@dataclass
class Window:
    """The part of the stored columns that the rows of the next step read: [low, high), and the number of rows."""

    rows: int = 0
    low: int = 0
    high: int = 0


class KeyValueLayer(DynamicLayer):
    """One layer's keys and values [B, K, C, D]; a step writes column `high` of every row and reads from `low` on."""

    def __init__(self, window: Window, like: DynamicLayer) -> None:
        super().__init__()
        assert isinstance(like.keys, Tensor)
        assert isinstance(like.values, Tensor)
        self.window, self.is_initialized = window, True
        self.keys, self.values = (
            store.new_zeros(0, store.shape[1], 0, store.shape[3]) for store in (like.keys, like.values)
        )

    def update(
        self, key_states: Tensor, value_states: Tensor, *arguments: object, **named: object
    ) -> tuple[Tensor, Tensor]:
        w = self.window
        self.keys[: w.rows, :, w.high] = key_states[:, :, 0]  # pyright: ignore[reportOptionalSubscript]
        self.values[: w.rows, :, w.high] = value_states[:, :, 0]  # pyright: ignore[reportOptionalSubscript]
        return tuple(store[: w.rows, :, w.low : w.high + 1] for store in (self.keys, self.values))  # pyright: ignore

    def get_seq_length(self) -> int:
        return self.window.high - self.window.low

    def move(self, rows: int, high: int) -> None:
        """Copy what is in use into new storage for `rows` rows, ending at column `high`, with spare columns after
        it."""
        w = self.window
        for name in ("keys", "values"):
            old = getattr(self, name)
            # Zeros, because a masked column weighs nothing only where it holds a number.
            new = old.new_zeros(rows, old.shape[1], high + SPARE_COLUMNS, old.shape[3])
            new[: w.rows, :, high - (w.high - w.low) : high] = old[: w.rows, :, w.low : w.high]
            setattr(self, name, new)


class KeyValueStore(Cache):
    """The keys and values of the rows that are being answered."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.window = Window()

    def admit(self, prefilled: DynamicCache, copies: Tensor) -> None:
        """Add rows behind the present ones: row i gets what `prefilled` holds for its prompt `copies[i]`."""
        w, width = self.window, prefilled.get_seq_length()
        if not self.layers:
            self.layers = [KeyValueLayer(w, layer) for layer in prefilled.layers]  # pyright: ignore
        rows = w.rows + len(copies)
        if rows > self._stored.shape[0] or width > w.high:
            self._move(max(rows, self._stored.shape[0]), max(w.high - w.low, width))
        for layer, new in zip(self.layers, prefilled.layers, strict=True):
            layer.keys[w.rows : rows, :, w.high - width : w.high] = new.keys[copies]  # pyright: ignore
            layer.values[w.rows : rows, :, w.high - width : w.high] = new.values[copies]  # pyright: ignore
        w.low = min(w.low, w.high - width) if w.rows else w.high - width
        w.rows = rows

    def look_back(self, columns: int) -> None:
        """Let the next step read the last `columns` columns, and have a column to write to."""
        self.window.low = self.window.high - columns
        if self.window.high == self._stored.shape[2]:
            self._move(self.window.rows, columns)

    def written(self) -> None:
        """All layers have written their column."""
        self.window.high += 1

    def replace(self, holes: list[int], movers: list[int], rows: int) -> None:
        """Move the rows `movers` into the `holes`; the first `rows` rows stay."""
        w = self.window
        if holes:
            for layer in self.layers:
                for store in (layer.keys, layer.values):  # pyright: ignore
                    store[holes, :, w.low : w.high] = store[movers, :, w.low : w.high]  # pyright: ignore
        w.rows = rows

    @property
    def _stored(self) -> Tensor:
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
    places: int,
    max_tokens: int,
    tick: Callable[[int], None] = lambda rows: None,
) -> list[list[int]]:
    """The ids that follow each prompt, up to the first of `stops` (included) or `max_new_tokens`, in the order of
    `prompts`.

    At most `places` rows are answered at once; prompts are read in parts of at most `max_tokens` padded tokens, longest
    first, a prompt asked several times once a part. A row's ids do not depend on the others, to float noise. `tick`
    hears of rows as they finish.
    """
    _check_layers(model)
    waiting = deque(sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), prompts[i], i)))
    store, rows, finished = KeyValueStore(), list[Continuation](), dict[int, list[int]]()
    refill = max(1, places // 8)
    while waiting or rows:
        if waiting and (places - len(rows) >= refill or not rows):
            new = _next(waiting, prompts, places - len(rows), max_tokens)
            logits = _read(model, new, store)
        else:
            new = rows
            logits = _step(model, rows, store)
        for row, id in zip(new, choose(logits, new).tolist(), strict=True):
            row.ids.append(id)
        rows = rows if new is rows else rows + new
        done = {i for i, row in enumerate(rows) if row.ids[-1] in stops or len(row.ids) == max_new_tokens}
        finished |= {rows[i].index: rows[i].ids for i in done}
        tick(len(done))
        rows = _close_up(rows, done, store)
    return [finished[i] for i in range(len(prompts))]


def _next(waiting: deque[int], prompts: list[list[int]], free: int, max_tokens: int) -> list[Continuation]:
    """The next rows to read: as many as there are places free and different prompts fit into `max_tokens` (or one)."""
    rows: list[Continuation] = []
    width, different = len(prompts[waiting[0]]), 0
    while waiting and len(rows) < free:
        prompt = prompts[waiting[0]]
        different += not rows or rows[-1].prompt != prompt
        if rows and different * width > max_tokens:
            break
        rows.append(Continuation(waiting.popleft(), prompt))
    return rows


def _read(model: PreTrainedModel, rows: list[Continuation], store: KeyValueStore) -> Tensor:
    """Read the prompts of new rows, equal ones once: the logits [B, V] behind them."""
    places = {tuple(row.prompt): 0 for row in rows}
    places = {prompt: place for place, prompt in enumerate(places)}
    width = max(len(prompt) for prompt in places)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in places], device=model.device)
    # Masked positions hold token 0, which nothing ever looks at.
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in places], device=model.device)
    read = DynamicCache()
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=position_ids_of(mask),
        past_key_values=read,
        use_cache=True,
        logits_to_keep=1,
    )
    copies = torch.tensor([places[tuple(row.prompt)] for row in rows], device=model.device)
    store.admit(read, copies)
    return output.logits[:, -1][copies]


def _step(model: PreTrainedModel, rows: list[Continuation], store: KeyValueStore) -> Tensor:
    """Feed every row its last id: the logits [B, V] behind it."""
    lengths = torch.tensor([row.num_tokens for row in rows], device=model.device).unsqueeze(1)
    columns = max(row.num_tokens for row in rows)
    store.look_back(columns - 1)
    mask = (torch.arange(columns, device=model.device) >= columns - lengths).long()
    ids = torch.tensor([[row.ids[-1]] for row in rows], device=model.device)
    output = model(input_ids=ids, attention_mask=mask, position_ids=lengths - 1, past_key_values=store, use_cache=True)
    store.written()
    return output.logits[:, -1]


def _close_up(rows: list[Continuation], done: set[int], store: KeyValueStore) -> list[Continuation]:
    """The rows that go on, those at the end moved into the places of finished ones."""
    left = len(rows) - len(done)
    holes = [i for i in range(left) if i in done]
    movers = [i for i in range(left, len(rows)) if i not in done]
    store.replace(holes, movers, left)
    moved = dict(zip(holes, movers, strict=True))
    return [rows[moved.get(i, i)] for i in range(left)]


def _check_layers(model: PreTrainedModel) -> None:
    """A `UserError` for a model that remembers more than keys and values (state spaces, recurrence)."""
    kinds = {type(layer) for layer in DynamicCache(config=unwrapped(model).config).layers} - {
        DynamicLayer,
        DynamicSlidingWindowLayer,
    }
    if kinds:
        raise UserError(
            f"{type(model).__name__} keeps {kinds.pop().__name__} between tokens, which cannot be decoded here; "
            "choose a model with attention layers only"
        )
