"""The seam between losses and architectures: who reaches a model's head, and that an encoder-decoder model fits it."""

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from srd.errors import UserError
from srd.generation.decoding import decode
from srd.models.heads import CausalHead, HeadAccess, head_of, logits_at
from srd.models.trial import try_out
from srd.text.batches import Batch, collate
from srd.text.encoding import Encoded
from tests.small import SIZES, encoded, model


class T5Head:
    """What the protocol asks of an encoder-decoder model: no batch but `Batch`, no body to replace."""

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        prompts, prompt_mask = padded([row.prompt for row in batch.rows])
        # The decoder reads what it has written: the response, one place to the right, after the start token 0.
        written, response_mask = padded([[0, *row.response[:-1]] for row in batch.rows])
        return {
            "input_ids": prompts,
            "attention_mask": prompt_mask,
            "decoder_input_ids": written,
            "decoder_attention_mask": response_mask,
        }

    def hidden_states(self, model: nn.Module, batch: Batch) -> Tensor:
        inputs = self.inputs(batch)
        seen: list[Tensor] = []
        head = model.get_output_embeddings()  # pyright: ignore
        hook = head.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))  # pyright: ignore
        try:
            model(**inputs)
        finally:
            hook.remove()
        return seen[0][inputs["decoder_attention_mask"].bool()]

    def logits(self, model: nn.Module, hidden: Tensor, vocabulary: int) -> Tensor:
        return model.get_output_embeddings()(hidden)[:, :vocabulary]  # pyright: ignore

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        return [p for p in model.get_output_embeddings().parameters() if p.requires_grad]  # pyright: ignore


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def t5() -> PreTrainedModel:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(
        T5Config(vocab_size=310, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0)
    ).eval()


def test_an_encoder_decoder_model_fits_the_protocol() -> None:
    """Row by row by the model itself, with its own shift of the labels."""
    net, rows, access = t5(), encoded(5), T5Head()
    assert isinstance(access, HeadAccess)
    batch = collate(rows, 0)
    found = access.logits(net, access.hidden_states(net, batch), 300)
    alone = [
        net(input_ids=torch.tensor([row.prompt]), labels=torch.tensor([row.response])).logits[0, :, :300]
        for row in rows
    ]
    torch.testing.assert_close(found, torch.cat(alone))
    assert found.shape == (len(batch.labels), 300)
    assert len(access.parameters(net)) == 1


def test_decoder_only_models_have_their_head_and_others_are_one_line() -> None:
    batch = collate(encoded(2), 0)
    for kind in SIZES:
        assert isinstance(head_of(model(kind)), CausalHead), kind
    assert len(SIZES) == 7
    with pytest.raises(UserError, match=r"T5ForConditionalGeneration is an encoder-decoder model.*decoder-only"):
        logits_at(t5(), batch, 300)


@pytest.mark.parametrize("tokens", [1, 2, 3, 5, 40])
def test_a_model_is_tried_on_a_row_of_any_length(tokens: int) -> None:
    net = model("llama")
    try_out(net, Encoded("0" * 16, [5], list(range(6, 5 + tokens)), False), "student")
    assert type(head_of(net)) is CausalHead
    assert decode(net, [[5, 6]], lambda logits, _: logits.argmax(-1), {1}, 2, 1, 64)
