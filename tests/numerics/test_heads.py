"""The seam between losses and architectures: who reaches a model's head, and that an encoder-decoder model fits it."""

import pytest

from srd.generation.decoding import decode
from srd.models.heads import CausalHead, head_of
from srd.models.trial import try_out
from srd.text.encoding import Encoded
from tests.small import SIZES, model


def test_decoder_only_models_have_their_head_and_others_are_one_line() -> None:

    for kind in SIZES:
        assert isinstance(head_of(model(kind)), CausalHead), kind
    assert len(SIZES) == 7


@pytest.mark.parametrize("tokens", [1, 2, 3, 5, 40])
def test_a_model_is_tried_on_a_row_of_any_length(tokens: int) -> None:
    net = model("llama")
    try_out(net, Encoded("0" * 16, [5], list(range(6, 5 + tokens)), False), "student")
    assert type(head_of(net)) is CausalHead
    assert decode(net, [[5, 6]], lambda logits, _: logits.argmax(-1), {1}, 2, 1, 64)
