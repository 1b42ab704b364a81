"""The likelihood of a sample's reference: one of the signals of its difficulty, and a score.

Axes: N supervised positions, n those of one chunk, V vocabulary.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from srd.config import Engine
from srd.distillation.loss import cross_entropy, log_probabilities, nll
from srd.distillation.scoring import of_model, over_rows, reference_means
from srd.metrics.calibration import binned
from srd.store.rows import Likelihood
from srd.text.encoding import Encoded, pad_id


def reference_nll(
    model: nn.Module, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[float]:
    """Mean negative log-likelihood of each row's response (EOS included), nats per token, float32 (see
    `reference_means`)."""
    measure = of_model(model, len(tokenizer), engine.loss_positions, _nll)
    device = next(model.parameters()).device
    return [mean for (mean,) in reference_means(measure, rows, pad_id(tokenizer), device, engine)]


def reference_likelihood(
    model: nn.Module, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[Likelihood]:
    """The likelihood of each row's response (EOS included), with how sure and how right the model is at its
    positions; float32 there, sums in double (see `over_rows`)."""
    measure = of_model(model, len(tokenizer), engine.loss_positions, _predicted)
    return over_rows(measure, rows, pad_id(tokenizer), next(model.parameters()).device, engine, _likelihood)


def _nll(logits: Float[Tensor, "n V"], labels: Int[Tensor, " n"]) -> Float[Tensor, "1 n"]:
    return cross_entropy(logits, labels).unsqueeze(0)


def _predicted(logits: Float[Tensor, "n V"], labels: Int[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    """NLL of the label, probability of the likeliest token, and whether that is the label."""
    logq = log_probabilities(logits, 1)
    top, likeliest = logq.max(dim=1)
    return torch.stack([nll(logq, labels), top.exp(), (likeliest == labels).to(top)])


def _likelihood(row: Encoded, values: Float[Tensor, "3 N"]) -> Likelihood:
    losses, confidence, hit = values.numpy()
    counts, confidences, hits = binned(confidence, hit)
    return Likelihood(row.id, float(losses.sum()), len(losses), _whole(counts), confidences.tolist(), _whole(hits))


def _whole(numbers: np.ndarray) -> list[int]:
    return [int(number) for number in numbers]
