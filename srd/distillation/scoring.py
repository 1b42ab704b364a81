"""What models make of a sample's reference, at its supervised positions and over them, without an answer.

Axes: N supervised positions, n those of one chunk, V vocabulary, K values at each position.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from srd.config import Engine
from srd.distillation.signals import by_chunks, signals_at
from srd.models.device import autocast
from srd.models.heads import head_logits, hidden_at
from srd.runtime import processes
from srd.text.batches import Batch, collate, pack
from srd.text.encoding import Encoded

Measure = Callable[[Batch], Float[Tensor, "K N"]]
"""Values at each supervised position of a batch, in the order of its labels."""
AtPositions = Callable[[Float[Tensor, "n V"], Int[Tensor, " n"]], Float[Tensor, "K n"]]
"""From the logits and the labels of some positions to K values at each."""
Value = TypeVar("Value")


@torch.no_grad()
def over_rows(
    measure: Measure,
    rows: list[Encoded],
    pad: int,
    device: torch.device,
    engine: Engine,
    of_row: Callable[[Encoded, Float[Tensor, "K N"]], Value],
) -> list[Value]:
    """`of_row` for each of `rows`, given the values at its supervised positions (EOS included), in double, so that a
    sum over a long response does not depend on how its positions are added up.

    A pass of its own over whole sequences, packed by length; a sample that occurs twice is read once. Where several
    processes read, each has its share, and all get the whole.
    """
    different = list({row.id: row for row in rows}.values())
    mine = processes.share(different)
    found: dict[str, Value] = {}
    for batch_rows in pack(mine, engine.micro_batch_tokens):
        batch = collate(batch_rows, pad).to(device)
        with autocast(device, engine):
            values = measure(batch).cpu()
        by_row = values.double().split([row.num_supervised for row in batch_rows], dim=1)
        found |= {row.id: of_row(row, each) for row, each in zip(batch_rows, by_row, strict=True)}
    merged = processes.merged([found[row.id] for row in mine])
    every = {row.id: value for row, value in zip(different, merged, strict=True)}
    return [every[row.id] for row in rows]


def reference_means(
    measure: Measure, rows: list[Encoded], pad: int, device: torch.device, engine: Engine
) -> list[list[float]]:
    """The mean of each of the K values over each row's supervised positions, in the order of `rows` (see
    `over_rows`)."""
    return over_rows(measure, rows, pad, device, engine, lambda row, values: [float(k.mean()) for k in values])


def of_model(model: nn.Module, vocabulary: int, chunk: int, at_positions: AtPositions) -> Measure:
    """What `at_positions` gives of one model's logits."""

    def measure(batch: Batch) -> Float[Tensor, "K N"]:
        hidden = hidden_at(model, batch)

        def values(chunk: slice) -> Float[Tensor, "K n"]:
            return at_positions(head_logits(model, hidden[chunk], vocabulary), batch.labels[chunk])

        return by_chunks(values, len(hidden), chunk)

    return measure


def signal_values(
    names: tuple[str, ...], vocabulary: int, size: int, student: nn.Module, teacher: nn.Module | None = None
) -> Measure:
    """Signals of `IMPORTANCE` by name, which read the student and, where there is one, the teacher; logits exist for
    `size` positions at a time. The mean of `student_entropy` over a sample's positions is U_i of SE-KD
    (arXiv 2602.01395)."""

    def measure(batch: Batch) -> Float[Tensor, "K N"]:
        hidden = hidden_at(student, batch)
        states = hidden_at(teacher, batch) if teacher is not None else None

        def taught(chunk: slice) -> Float[Tensor, "n V"]:
            assert teacher is not None, "a signal reads a teacher that is not there"
            assert states is not None
            return head_logits(teacher, states[chunk], vocabulary)

        return signals_at(names, batch, lambda chunk: head_logits(student, hidden[chunk], vocabulary), taught, size)

    return measure
