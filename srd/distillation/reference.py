"""The likelihood of a sample's reference: one of the signals of its difficulty, and a score.

Axes: N supervised positions, n those of one chunk.
"""

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from srd.config import Engine
from srd.distillation.loss import cross_entropy
from srd.distillation.scoring import by_chunks, reference_means
from srd.models.heads import head_logits, hidden_at
from srd.text.batches import Batch
from srd.text.encoding import Encoded, pad_id


def reference_nll(
    model: nn.Module, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[float]:
    """Mean negative log-likelihood of each row's response (EOS included), nats per token, float32 (see
    `reference_means`)."""

    def measure(batch: Batch) -> Float[Tensor, "1 N"]:
        hidden = hidden_at(model, batch)

        def values(chunk: slice) -> Float[Tensor, "1 n"]:
            logits = head_logits(model, hidden[chunk], len(tokenizer))
            return cross_entropy(logits, batch.labels[chunk]).unsqueeze(0)

        return by_chunks(values, len(hidden), engine.loss_positions)

    device = next(model.parameters()).device
    return [nll for (nll,) in reference_means(measure, rows, pad_id(tokenizer), device, engine)]
