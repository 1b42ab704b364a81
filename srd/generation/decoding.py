"""Decoding in slots that never stand idle: a finished row leaves the batch, a waiting one takes its slot.

Axes: B rows, V vocabulary.
"""

from collections import deque
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from srd.errors import UserError
from srd.generation.continuation import Choose, Continuation, ModelReader
from srd.generation.encoder_decoder import EncoderDecoderReader
from srd.generation.keys_values import KeyValueStore, mask_of
from srd.models.heads import DECODES, arguments_of, unwrapped
from srd.models.seq2seq import is_encoder_decoder, padded
from srd.text.batches import position_ids_of

# Reading prompts is a pass of its own, in which the rows at hand stand still. With one slot at a time it would be as
# many passes as prompts; waiting for more would leave slots empty for longer.
REFILL_SHARE = 8
"""Waiting prompts are read when one slot in so many is free."""


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
    reader: ModelReader = (
        EncoderDecoderReader(model) if is_encoder_decoder(unwrapped(model).config) else CausalReader(model)
    )
    # Equal prompts stand side by side, so that they are read together; the longest come first, so that those which are
    # read together are of like length and the store seldom has to make room on the left.
    waiting = deque(sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), prompts[i], i)))
    rows: list[Continuation] = []
    finished: dict[int, list[int]] = {}
    refill = max(1, slots // REFILL_SHARE)
    while waiting or rows:
        free = slots - len(rows)
        if waiting and (free >= refill or not rows):
            new = _next(waiting, prompts, free, max_tokens, reader)
            logits = reader.read(new)
            rows = rows + new
        else:
            new = rows
            logits = reader.step(rows)
        # One transfer for all rows: the ids have to be known here, because they decide who leaves.
        for row, id in zip(new, choose(logits, new).tolist(), strict=True):
            row.ids.append(id)
        done = {i for i, row in enumerate(rows) if row.ids[-1] in stops or len(row.ids) == max_new_tokens}
        finished |= {rows[i].index: rows[i].ids for i in done}
        tick(len(done))
        rows = _close_up(rows, done, reader)
    return [finished[i] for i in range(len(prompts))]


def _next(
    waiting: deque[int], prompts: list[list[int]], free: int, max_tokens: int, reader: ModelReader
) -> list[Continuation]:
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
        rows.append(Continuation(waiting.popleft(), prompt, reader.begin(prompt)))
    return rows


def _close_up(rows: list[Continuation], done: set[int], reader: ModelReader) -> list[Continuation]:
    """The rows that go on, those at the end moved into the slots of finished ones."""
    # Only as many rows are copied as have left a hole before the end. Order means nothing: `index` goes with a row.
    left = len(rows) - len(done)
    holes = [i for i in range(left) if i in done]
    movers = [i for i in range(left, len(rows)) if i not in done]
    reader.replace(holes, movers, left)
    moved = dict(zip(holes, movers, strict=True))
    return [rows[moved.get(i, i)] for i in range(left)]


class CausalReader:
    """The `ModelReader` of decoder-only models."""

    def __init__(self, model: PreTrainedModel) -> None:
        _check_layers(model)
        self.model = model
        self.store = KeyValueStore()

    def begin(self, prompt: list[int]) -> list[int]:
        return prompt

    def read(self, rows: list[Continuation]) -> Float[Tensor, "B V"]:
        """Read the prompts of new rows: the logits behind them."""
        # An evaluation asks every prompt once a seed: equal ones are read once, and their keys, values and logits
        # copied.
        different = list(dict.fromkeys(tuple(row.prompt) for row in rows))
        ids, mask = padded([list(prompt) for prompt in different], self.model.device, "left")
        prefilled = DynamicCache()
        texts = arguments_of(self.model, input_ids=ids, attention_mask=mask, position_ids=position_ids_of(mask))
        last = arguments_of(self.model, logits_to_keep=1)
        output = self.model(**texts, **last, past_key_values=prefilled, use_cache=True)
        if prefilled.get_seq_length() != ids.shape[1]:
            raise UserError(
                f"{type(unwrapped(self.model)).__name__} keeps no keys and values of what it has read, which cannot be "
                "decoded here; choose a model that does"
            )
        number = {prompt: i for i, prompt in enumerate(different)}
        copies = torch.tensor([number[tuple(row.prompt)] for row in rows], device=self.model.device)
        self.store.admit(prefilled, copies)
        return output.logits[:, -1][copies]

    def step(self, rows: list[Continuation]) -> Float[Tensor, "B V"]:
        """Feed every row its last id: the logits behind it."""
        # Aligned at the end: a row of n tokens is in the last n columns, the one to be written included.
        mask = mask_of([row.num_tokens for row in rows], self.model.device)
        self.store.look_back(mask.shape[1] - 1)
        ids = torch.tensor([[row.ids[-1]] for row in rows], device=mask.device)
        places = mask.sum(1, keepdim=True) - 1
        texts = arguments_of(self.model, input_ids=ids, attention_mask=mask, position_ids=places)
        output = self.model(**texts, past_key_values=self.store, use_cache=True)
        self.store.written()
        return output.logits[:, -1]

    def replace(self, holes: list[int], movers: list[int], rows: int) -> None:
        self.store.replace(holes, movers, rows)


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
