"""The likelihood of a sample's reference: one of the signals of its difficulty, and a score.

Axes: N supervised positions, n those of one chunk, V vocabulary, K numbers of a position.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from srd.config import Engine
from srd.distillation.loss import cross_entropy, log_probabilities
from srd.metrics.calibration import binned
from srd.models.device import autocast
from srd.models.heads import head_logits, hidden_at
from srd.runtime import processes
from srd.store.rows import Likelihood
from srd.text.batches import collate, pack
from srd.text.encoding import Encoded, pad_id

Value = TypeVar("Value")


AtPositions = Callable[[Float[Tensor, "n V"], Int[Tensor, " n"]], Float[Tensor, "K n"]]
"""From the logits and the labels of some positions to K numbers for each."""


def reference_nll(
    model: nn.Module, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[float]:
    """Mean negative log-likelihood of each row's response (EOS included), nats per token, float32."""
    return over_rows(
        model,
        rows,
        tokenizer,
        engine,
        lambda logits, labels: cross_entropy(logits, labels).unsqueeze(0),
        # Double, so that the mean of a long response does not depend on how its positions are added up.
        lambda row, values: float(values.double().mean()),
    )


def reference_likelihood(
    model: nn.Module, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[Likelihood]:
    """The likelihood of each row's response (EOS included), with how sure and how right the model is at its
    positions; float32 there, sums in double."""
    return over_rows(model, rows, tokenizer, engine, _predicted, _likelihood)


@torch.no_grad()
def over_rows(
    model: nn.Module,
    rows: list[Encoded],
    tokenizer: PreTrainedTokenizerBase,
    engine: Engine,
    at_positions: AtPositions,
    of_row: Callable[[Encoded, Float[Tensor, "K N"]], Value],
) -> list[Value]:
    """`of_row` for each row, given `at_positions` of its response (EOS included); logits exist for
    `engine.loss_positions` positions at a time.

    A pass of its own over whole sequences, packed by length; a sample that occurs twice is read once.
    """
    different = list({row.id: row for row in rows}.values())
    mine, device = processes.share(different), next(model.parameters()).device
    value_by_id: dict[str, Value] = {}
    for batch_rows in pack(mine, engine.micro_batch_tokens):
        batch = collate(batch_rows, pad_id(tokenizer)).to(device)
        with autocast(device, engine):
            hidden, size = hidden_at(model, batch), engine.loss_positions
            chunks = zip(hidden.split(size), batch.labels.split(size), strict=True)
            found = [at_positions(head_logits(model, states, len(tokenizer)), labels) for states, labels in chunks]
        values = torch.cat(found, dim=1).cpu().split([row.num_supervised for row in batch_rows], dim=1)
        value_by_id |= {row.id: of_row(row, each) for row, each in zip(batch_rows, values, strict=True)}
    merged = processes.merged([value_by_id[row.id] for row in mine])
    every_value = {row.id: value for row, value in zip(different, merged, strict=True)}
    return [every_value[row.id] for row in rows]


def _predicted(logits: Float[Tensor, "n V"], labels: Int[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    """NLL of the label, probability of the likeliest token, and whether that is the label."""
    logq = log_probabilities(logits, 1)
    top, likeliest = logq.max(dim=1)
    nll = -logq.gather(1, labels.unsqueeze(1)).squeeze(1)
    return torch.stack([nll, top.exp(), (likeliest == labels).to(nll)])


def _likelihood(row: Encoded, values: Float[Tensor, "3 N"]) -> Likelihood:
    nll, confidence, hit = values.double().numpy()
    counts, confidences, hits = binned(confidence, hit)
    return Likelihood(row.id, float(nll.sum()), len(nll), _whole(counts), confidences.tolist(), _whole(hits))


def _whole(numbers: np.ndarray) -> list[int]:
    return [int(number) for number in numbers]
