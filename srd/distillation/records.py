"""What a teacher cache keeps of a position: to bytes and back.

Axes: n positions, H hidden size, W numbers kept of a position, V vocabulary, S slots, K classes.

A record is made from what enters the teacher's head. `hidden` keeps that itself; `float8` keeps it in eight bits a
number with one scale a position; `sampled` and `top` keep some classes of the distribution, with ids as wide as the
vocabulary needs.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from srd.config import Classes
from srd.distillation.loss import log_probabilities
from srd.distillation.signals import Logits
from srd.errors import UserError
from srd.selection.classes import SparseTarget, counted, draw, log_rest, most_probable
from srd.selection.draws import row_numbers
from srd.selection.importance import Known, entropy
from srd.text.batches import Batch

STORED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Types of hidden states on disk that keep each number by itself."""
EIGHT_BITS = "float8"
EIGHT = torch.float8_e4m3fn
LARGEST = torch.finfo(EIGHT).max


@runtime_checkable
class Record(Protocol):
    """How positions are kept: `width` numbers of a `dtype` for each."""

    @property
    def width(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def keeps_logits(self) -> bool:
        """Whether logits can be made from it, through the teacher's head."""
        ...

    @property
    def layout(self) -> dict[str, Any]:
        """What `record_of` makes it again from, as JSON can hold it."""
        ...

    def pack(self, hidden: Float[Tensor, "N H"], logits: Logits, batch: Batch, chunk: int) -> Shaped[Tensor, "N W"]:
        """What is kept of the batch's positions, [N, W]."""
        ...

    def unpack(self, kept: Shaped[Tensor, "n W"]) -> Float[Tensor, "n H"] | SparseTarget:
        """What enters the head, [n, H], or a target, from what was kept, [n, W]."""
        ...


@dataclass(frozen=True)
class HiddenRecord:
    """Hidden states, each number by itself."""

    width: int
    dtype: torch.dtype
    keeps_logits: bool = True

    @property
    def layout(self) -> dict[str, Any]:
        return {"width": self.width, "dtype": str(self.dtype).removeprefix("torch.")}

    def pack(self, hidden: Float[Tensor, "N H"], logits: Logits, batch: Batch, chunk: int) -> Float[Tensor, "N H"]:
        return hidden.to(self.dtype)

    def unpack(self, kept: Float[Tensor, "n H"]) -> Float[Tensor, "n H"]:
        return kept


@dataclass(frozen=True)
class EightBitRecord:
    """Hidden states in eight bits a number, with the largest one of a position as its scale."""

    hidden: int
    dtype: torch.dtype = torch.uint8
    keeps_logits: bool = True

    @property
    def width(self) -> int:
        return self.hidden + 4

    @property
    def layout(self) -> dict[str, Any]:
        return {"width": self.hidden, "dtype": EIGHT_BITS}

    def pack(self, hidden: Float[Tensor, "N H"], logits: Logits, batch: Batch, chunk: int) -> UInt8[Tensor, "N W"]:
        wide = hidden.float()
        # A position of zeros has a scale of one: it would divide by itself.
        scale = wide.abs().amax(1, keepdim=True) / LARGEST
        scale = scale.where(scale > 0, torch.ones_like(scale))
        return torch.cat([(wide / scale).to(EIGHT).view(torch.uint8), _bytes(scale)], dim=1)

    def unpack(self, kept: UInt8[Tensor, "n W"]) -> Float[Tensor, "n H"]:
        return kept[:, :-4].contiguous().view(EIGHT).float() * _floats(kept[:, -4:])


class _SparseRecord(ABC):
    """Some classes of the distribution: ids, what is known of each, and four numbers of the whole."""

    dtype = torch.uint8
    keeps_logits = False
    signal: str
    slot_bytes: int
    """Of what is known of a class, besides its id."""

    def __init__(self, settings: Classes, slots: int, vocabulary: int) -> None:
        self.settings = settings
        self.slots = slots
        self.id_bytes = id_width(vocabulary)

    @property
    def width(self) -> int:
        return self.slots * (self.id_bytes + self.slot_bytes) + 16

    @property
    def layout(self) -> dict[str, Any]:
        return {"signal": self.signal, "classes": asdict(self.settings)}

    def pack(self, hidden: Float[Tensor, "N H"], logits: Logits, batch: Batch, chunk: int) -> UInt8[Tensor, "N W"]:
        kept, tau, uniform = [], self.settings.temperature, self._numbers(batch)
        for start in range(0, len(batch.labels), chunk):
            some = slice(start, start + chunk)
            plain = log_probabilities(logits(some), 1.0)
            known = Known(batch.labels[some], logp=plain)
            tempered = plain if tau == 1 else log_probabilities(plain, tau)
            ids, values, rest = self._classes(tempered, uniform[some])
            whole = torch.stack([known.teacher_entropy, known.teacher_nll, entropy(tempered), rest], dim=1)
            kept.append(torch.cat([_narrow(ids, self.id_bytes), values, _bytes(whole)], dim=1))
        return torch.cat(kept)

    def _numbers(self, batch: Batch) -> Float[Tensor, "N U"]:
        """What is drawn with at each position: nothing, unless classes are drawn."""
        return torch.zeros(len(batch.labels), 0, device=batch.labels.device)

    @abstractmethod
    def _classes(
        self, logp: Float[Tensor, "n V"], uniform: Float[Tensor, "n U"]
    ) -> tuple[Int[Tensor, "n S"], UInt8[Tensor, "n bytes"], Float[Tensor, " n"]]:
        """Ids, what is known of each, and the logarithm of the rest."""

    def _split(
        self, kept: UInt8[Tensor, "n W"]
    ) -> tuple[Int[Tensor, "n S"], UInt8[Tensor, "n bytes"], Float[Tensor, "n 4"]]:
        ids = self.slots * self.id_bytes
        return _wide(kept[:, :ids], self.id_bytes), kept[:, ids:-16], _floats(kept[:, -16:])

    def _target(
        self,
        ids: Int[Tensor, "n S"],
        logs: Float[Tensor, "n S"],
        whole: Float[Tensor, "n 4"],
        drawn: bool,
        rest: Float[Tensor, " n"] | None = None,
    ) -> SparseTarget:
        plain = whole[:, 0], whole[:, 1]
        return SparseTarget(ids, logs, self.settings.temperature, whole[:, 2], plain, drawn, rest)


class SampledRecord(_SparseRecord):
    """Drawn ids and how often each was drawn."""

    signal, slot_bytes = "sampled", 1

    def __init__(self, settings: Classes, vocabulary: int) -> None:
        super().__init__(settings, min(settings.slots, settings.draws), vocabulary)

    def _numbers(self, batch: Batch) -> Float[Tensor, "N U"]:
        seed, draws = self.settings.seed, self.settings.draws
        each = [row_numbers(seed, 0, row.id, row.num_supervised, draws) for row in batch.rows]
        return torch.from_numpy(np.concatenate(each)).to(batch.labels.device)

    def _classes(
        self, logp: Float[Tensor, "n V"], uniform: Float[Tensor, "n U"]
    ) -> tuple[Int[Tensor, "n S"], UInt8[Tensor, "n S"], Float[Tensor, " n"]]:
        ids, counts = counted(draw(logp.exp(), uniform), self.slots)
        return ids, counts.to(torch.uint8), torch.zeros(len(ids), device=ids.device)

    def unpack(self, kept: UInt8[Tensor, "n W"]) -> SparseTarget:
        ids, counts, whole = self._split(kept)
        return self._target(ids, (counts.float() / self.settings.draws).log(), whole, drawn=True)


class TopRecord(_SparseRecord):
    """The most probable ids with their log-probabilities, and that of all others together."""

    signal, slot_bytes = "top", 4

    def __init__(self, settings: Classes, vocabulary: int) -> None:
        super().__init__(settings, min(settings.count, vocabulary), vocabulary)
        self.has_rest = self.slots < vocabulary

    def _classes(
        self, logp: Float[Tensor, "n V"], uniform: Float[Tensor, "n U"]
    ) -> tuple[Int[Tensor, "n K"], UInt8[Tensor, "n bytes"], Float[Tensor, " n"]]:
        ids, logs = most_probable(logp, self.slots)
        rest = log_rest(logp, ids)
        return ids, _bytes(logs), torch.zeros_like(logs[:, 0]) if rest is None else rest

    def unpack(self, kept: UInt8[Tensor, "n W"]) -> SparseTarget:
        ids, values, whole = self._split(kept)
        rest = whole[:, 3] if self.has_rest else None
        return self._target(ids, _floats(values), whole, drawn=False, rest=rest)


def record_of(layout: dict[str, Any], vocabulary: int) -> Record:
    """How positions are kept, from a `layout`; hidden states where it names no signal."""
    if "signal" in layout:
        classes = Classes(**layout["classes"])
        return SampledRecord(classes, vocabulary) if layout["signal"] == "sampled" else TopRecord(classes, vocabulary)
    if layout["dtype"] == EIGHT_BITS:
        return EightBitRecord(layout["width"])
    return HiddenRecord(layout["width"], STORED[layout["dtype"]])


def id_width(vocabulary: int) -> int:
    """Bytes that hold every id of a vocabulary: two or three."""
    if vocabulary > 1 << 24:
        raise UserError(f"a vocabulary of {vocabulary} classes: expected at most {1 << 24}; use teacher.signal=hidden")
    return 2 if vocabulary <= 1 << 16 else 3


def _narrow(ids: Int[Tensor, "n S"], width: int) -> UInt8[Tensor, "n bytes"]:
    """The lowest bytes of each id, lowest first."""
    return torch.stack([(ids >> 8 * place) & 255 for place in range(width)], dim=-1).to(torch.uint8).flatten(1)


def _wide(kept: UInt8[Tensor, "n bytes"], width: int) -> Int[Tensor, "n S"]:
    parts = kept.unflatten(1, (-1, width)).long()
    return sum((parts[..., place] << 8 * place for place in range(width)), torch.zeros_like(parts[..., 0]))


def _bytes(numbers: Float[Tensor, "n m"]) -> UInt8[Tensor, "n bytes"]:
    return numbers.float().contiguous().view(torch.uint8)


def _floats(kept: UInt8[Tensor, "n bytes"]) -> Float[Tensor, "n m"]:
    return kept.contiguous().view(torch.float32)
