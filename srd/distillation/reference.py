"""The likelihood of a sample's reference: one of the signals of its difficulty, and a score.

Axes: N supervised positions, V vocabulary.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from srd.config import Engine
from srd.distillation.loss import cross_entropy
from srd.models.device import autocast
from srd.models.heads import head_logits, hidden_at
from srd.runtime import processes
from srd.text.batches import Batch, collate, pack
from srd.text.encoding import Encoded, pad_id


@torch.no_grad()
def reference_nll(
    model: nn.Module, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[float]:
    """Mean negative log-likelihood of each row's response (EOS included), nats per token, float32.

    A pass of its own over whole sequences, packed by length; a sample that occurs twice is scored once.
    """
    different = list({row.id: row for row in rows}.values())
    mine, device = processes.share(different), next(model.parameters()).device
    nll_by_id: dict[str, float] = {}
    for batch_rows in pack(mine, engine.micro_batch_tokens):
        batch = collate(batch_rows, pad_id(tokenizer)).to(device)
        with autocast(device, engine):
            nll = position_nll(model, batch, len(tokenizer), engine.loss_positions).cpu()
        # Double, so that the mean of a long response does not depend on how its positions are added up.
        means = [float(tokens.double().mean()) for tokens in nll.split([row.num_supervised for row in batch_rows])]
        nll_by_id |= {row.id: mean for row, mean in zip(batch_rows, means, strict=True)}
    merged = processes.merged([nll_by_id[row.id] for row in mine])
    every_nll = {row.id: nll for row, nll in zip(different, merged, strict=True)}
    return [every_nll[row.id] for row in rows]


def position_nll(model: nn.Module, batch: Batch, vocabulary: int, chunk: int) -> Float[Tensor, " N"]:
    """Negative log-likelihood of the label at each supervised position, nats; logits exist for `chunk` positions at a
    time."""
    hidden = hidden_at(model, batch)
    chunks = zip(hidden.split(chunk), batch.labels.split(chunk), strict=True)
    return torch.cat([cross_entropy(head_logits(model, states, vocabulary), labels) for states, labels in chunks])
