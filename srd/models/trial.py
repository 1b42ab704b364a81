"""A model tried on a real row, once, when it is loaded: what everything after it takes for granted is seen to hold.

A few tokens show that the arguments it is given change nothing, that it sees no token before its turn, that padding is
nothing to it, that its logits are those made from what enters its head, and that it goes on from keys and values.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel

from srd.errors import UserError, first_line
from srd.models.heads import ACCESS, DECODES, CausalHead, Seq2SeqHead, WholePass, arguments_of
from srd.models.seq2seq import padded, start_id
from srd.models.weights import UNREADABLE
from srd.text.batches import Batch, collate, position_ids_of
from srd.text.encoding import Encoded

TRIAL_TOKENS = 8
"""Tokens of the row that are read: enough to see a difference, few enough to cost next to nothing."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of two computations of the same logits, as a share of the largest logit, by the type of the
weights: ten to a hundred times what rounding makes, and far below what another model makes."""


@torch.no_grad()
def try_out(model: PreTrainedModel, row: Encoded, role: str) -> None:
    """Find out how the head of `model` is reached, for `head_of`; a model that cannot be computed with here is a
    `UserError` that says why."""
    if model.config.is_encoder_decoder:
        return _try_encoder_decoder(model, row, role)
    ids = (row.prompt + row.response)[:TRIAL_TOKENS]
    ids = ids if len(ids) > 1 else ids * 2
    whole, part = _row(ids), _row(ids[: max(2, (len(ids) + 1) // 2)])
    # The short row ends where the long one goes on: that its logits are those of the long row's beginning says that
    # later tokens are not looked at, and that what pads it on the left is not either.
    batch = collate([whole, part], 0, "left").to(model.device)
    try:
        plain = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, :-1]
    except UNREADABLE as error:
        raise _unfit(model, role, f"cannot read a text ({first_line(error)})") from None
    _check_finite(model, plain, role)
    right = torch.cat([plain, plain[: len(part.response)]])
    if not _rebuilds(model, batch, right, len(plain)):
        _check_pass(model, batch, right, len(plain), role)
        setattr(model, ACCESS, WholePass())
    setattr(model, DECODES, len(ids) < 3 or _continues(model, ids, plain[-1:]))


def _check_pass(model: PreTrainedModel, batch: Batch, right: Float[Tensor, "N V"], own: int, role: str) -> None:
    """A `UserError` that says why a model's pass over a padded batch has other logits than a row alone, `own` of them
    the long row's."""
    try:
        padded = model(**CausalHead().inputs(model, batch), use_cache=False).logits[batch.supervised]
    except UNREADABLE as error:
        raise _unfit(model, role, f"cannot read a batch ({first_line(error)})") from None
    if not agree(padded[:own], right[:own]):
        raise _unfit(model, role, "numbers positions in a way of its own")
    if not agree(padded[own:], right[own:]):
        ids = torch.tensor([batch.rows[1].prompt + batch.rows[1].response], device=model.device)
        alone = model(input_ids=ids, use_cache=False).logits[0, :-1]
        padding = agree(alone, right[own:])
        why = (
            "is changed by padding on the left" if padding else "looks at the tokens that follow (it is bidirectional)"
        )
        raise _unfit(model, role, why)


def _unfit(model: PreTrainedModel, role: str, why: str) -> UserError:
    kind = "T5 or its like" if model.config.is_encoder_decoder else "decoder-only (causal) language model"
    return UserError(f"model.{role}: {type(model).__name__} {why}; choose a {kind} of attention layers")


def _row(ids: list[int]) -> Encoded:
    """The ids as one row whose every token but the first is supervised."""
    return Encoded("0" * 16, ids[:1], ids[1:], False)


def _rebuilds(model: PreTrainedModel, batch: Batch, right: Float[Tensor, "N V"], own: int) -> bool:
    """Whether the logits made from what enters the head are the right ones, in either row."""
    head = CausalHead()
    try:
        found = head.logits(model, head.hidden_states(model, batch), right.shape[1])
    except (*UNREADABLE, StopIteration):
        # Any model's code runs here without its body, and may ask for what is not there.
        return False
    return agree(found[:own], right[:own]) and agree(found[own:], right[own:])


def _continues(model: PreTrainedModel, ids: list[int], right: Float[Tensor, "1 V"]) -> bool:
    """Whether a token that is read alone, behind kept keys and values, has the logits that it has in the whole text."""
    past, (*before, last) = DynamicCache(), ids[:-1]
    # Behind a column of padding, as the shorter rows of a batch stand.
    mask = torch.tensor([[0, *[1] * (len(before) + 1)]], device=model.device)
    places = position_ids_of(mask)
    try:
        for piece, begin in (([0, *before], 0), ([last], len(before) + 1)):
            end = begin + len(piece)
            tokens = torch.tensor([piece], device=model.device)
            at = {"attention_mask": mask[:, :end], "position_ids": places[:, begin:end]}
            given = arguments_of(model, input_ids=tokens, **at)
            found = model(**given, past_key_values=past, use_cache=True).logits[:, -1]
        return agree(found, right)
    except UNREADABLE:
        return False


def _check_finite(model: PreTrainedModel, logits: Float[Tensor, "N V"], role: str) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise UserError(
            f"model.{role}: the logits of {type(model).__name__} are not finite in {model.dtype}; set "
            f"model.{role}.dtype=float32, or take other weights"
        )


def _try_encoder_decoder(model: PreTrainedModel, row: Encoded, role: str) -> None:
    """The same of an encoder-decoder model: padding of either side is nothing to its encoder, its decoder sees no token
    before its turn, its head makes its logits, and it goes on from what it has kept."""
    prompt, response = row.prompt[:TRIAL_TOKENS], (row.response or row.prompt)[:TRIAL_TOKENS]
    rows = [Encoded("0" * 16, ids[:1] + prompt, ids, False) for ids in (response, response[: (len(response) + 1) // 2])]
    rows[1] = replace(rows[1], prompt=rows[1].prompt[: (len(rows[1].prompt) + 1) // 2])
    head, batch = Seq2SeqHead(), collate(rows, 0).to(model.device)
    try:
        alone = [
            model(**head.inputs(model, collate([each], 0).to(model.device)), use_cache=False).logits for each in rows
        ]
    except UNREADABLE as error:
        raise _unfit(model, role, f"cannot read a text ({first_line(error)})") from None
    right = torch.cat([logits[0] for logits in alone])
    _check_finite(model, right, role)
    inputs = head.inputs(model, batch)
    written = inputs["decoder_attention_mask"].bool()
    prompts, mask = padded([each.prompt for each in rows], model.device, "left")
    for side, read in (("right", {}), ("left", {"input_ids": prompts, "attention_mask": mask})):
        found = model(**{**inputs, **read}, use_cache=False).logits[written]
        if not agree(found, right):
            raise _unfit(model, role, f"is changed by padding of its prompts on the {side}")
    short = replace(rows[0], response=rows[1].response)
    begun = model(**head.inputs(model, collate([short], 0).to(model.device)), use_cache=False).logits[0]
    if not agree(begun, right[: len(short.response)]):
        raise _unfit(model, role, "looks at the tokens that follow")
    if not agree(head.logits(model, head.hidden_states(model, batch), right.shape[1]), right):
        raise _unfit(model, role, "has logits that its head alone does not make of what enters it")
    setattr(model, DECODES, len(response) < 2 or _goes_on(model, rows[0], alone[0][0, -1:]))


def _goes_on(model: PreTrainedModel, row: Encoded, right: Float[Tensor, "1 V"]) -> bool:
    """Whether a token that is read alone, behind what the decoder has kept of others and of the encoder, has the logits
    that it has in the whole text; behind a column of padding, as the shorter rows of a batch stand."""
    past = EncoderDecoderCache(DynamicCache(), DynamicCache())
    before = [0, start_id(model), *row.response[:-2]]
    ids, read = padded([[0, *row.prompt]], model.device)
    read[:, 0] = 0
    mask = torch.ones(1, len(before) + 1, dtype=torch.long, device=model.device)
    mask[:, 0] = 0
    try:
        states = model.get_encoder()(input_ids=ids, attention_mask=read)  # pyright: ignore[reportCallIssue]
        for piece, end in ((before, len(before)), (row.response[-2:-1], len(before) + 1)):
            given = {"decoder_input_ids": torch.tensor([piece], device=model.device)}
            given |= {"encoder_outputs": states, "attention_mask": read, "decoder_attention_mask": mask[:, :end]}
            found = model(**given, past_key_values=past, use_cache=True).logits[:, -1]
        return agree(found, right)  # pyright: ignore[reportPossiblyUnboundVariable]
    except UNREADABLE:
        return False


def agree(found: Float[Tensor, "N V"], right: Float[Tensor, "N V"]) -> bool:
    """Whether two computations of the same logits agree, at most of the positions.

    Not at all of them: where a router is undecided, rounding sends a token to another expert.
    """
    far = (found - right).abs().amax(-1).float() / right.abs().max().clamp(min=1e-6)
    return found.shape == right.shape and bool(far.median() <= TOLERANCE[right.dtype])
