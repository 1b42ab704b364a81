"""The likelihood of a sample's reference: one of the signals of its difficulty, and a score.

Axes: N supervised positions, V vocabulary.
"""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Engine
from srd.distillation.loss import cross_entropy
from srd.models.device import autocast
from srd.models.heads import head_logits, hidden_at
from srd.runtime import processes
from srd.text.batches import collate, pack
from srd.text.encoding import Encoded, pad_id


@torch.no_grad()
def reference_nll(
    model: PreTrainedModel, rows: list[Encoded], tokenizer: PreTrainedTokenizerBase, engine: Engine
) -> list[float]:
    """Mean negative log-likelihood of each row's response (EOS included), nats per token, float32.

    A pass of its own over whole sequences, packed by length; a sample that occurs twice is scored once.
    """
    different = list({row.id: row for row in rows}.values())
    mine = processes.share(different)
    nll_by_id: dict[str, float] = {}
    for part in pack(mine, engine.micro_batch_tokens):
        batch = collate(part, pad_id(tokenizer)).to(model.device)
        with autocast(model.device, engine):
            hidden = hidden_at(model, batch)
            chunks = zip(hidden.split(engine.loss_positions), batch.labels.split(engine.loss_positions), strict=True)
            nll = torch.cat(
                [cross_entropy(head_logits(model, some, len(tokenizer)), labels) for some, labels in chunks]
            ).cpu()
        means = [float(tokens.double().mean()) for tokens in nll.split([len(row.response) for row in part])]
        nll_by_id |= {row.id: mean for row, mean in zip(part, means, strict=True)}
    merged = processes.merged([nll_by_id[row.id] for row in mine])
    of_all = {row.id: nll for row, nll in zip(different, merged, strict=True)}
    return [of_all[row.id] for row in rows]
