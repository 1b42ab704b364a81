"""Answers of encoder-decoder models: the encoder reads a prompt once, for all answers to it; the decoder goes on from
its own keys and values and from those that it has made of the encoder's states.

Axes: B rows, P different prompts, S tokens of the longest prompt, H hidden size, V vocabulary.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from srd.errors import UserError
from srd.generation.continuation import Continuation
from srd.generation.keys_values import KeyValueStore, mask_of
from srd.models.heads import DECODES, unwrapped
from srd.models.seq2seq import padded, start_id


class EncoderDecoderReader:
    """The `ModelReader` of encoder-decoder models."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.inner = unwrapped(model)
        if not getattr(self.inner, DECODES, True):
            raise UserError(
                f"{type(self.inner).__name__} does not go on from its keys and values as from the whole text (it may "
                "count positions by column), which cannot be decoded here; choose T5 or its like"
            )
        self.model = model
        self.start = start_id(self.inner)
        self.own, self.cross = KeyValueStore(), KeyValueStore()
        self.known: dict[tuple[int, ...], Float[Tensor, "S H"]] = {}
        """The encoder's states of the prompt that was read last: equal prompts come one after the other, and more of
        them may wait than there were slots."""

    def begin(self, prompt: list[int]) -> list[int]:
        return [self.start]

    def read(self, rows: list[Continuation]) -> Float[Tensor, "B V"]:
        """Read the prompts of new rows, each once, and start their decoder: the logits behind the start."""
        different = list(dict.fromkeys(tuple(row.prompt) for row in rows))
        states, mask = self._encoded(different)
        kept = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = self._decoder(states, mask, torch.full_like(mask[:, :1], self.start), None, kept)
        number = {prompt: i for i, prompt in enumerate(different)}
        copies = torch.tensor([number[tuple(row.prompt)] for row in rows], device=mask.device)
        self.own.admit(kept.self_attention_cache, copies)  # pyright: ignore[reportArgumentType]
        self.cross.admit(kept.cross_attention_cache, copies)  # pyright: ignore[reportArgumentType]
        return logits[copies]

    def step(self, rows: list[Continuation]) -> Float[Tensor, "B V"]:
        """Feed every row its last id: the logits behind it."""
        mask = mask_of([row.num_tokens for row in rows], self.inner.device)
        read = mask_of([len(row.prompt) for row in rows], self.inner.device)
        self.own.look_back(mask.shape[1] - 1)
        self.cross.look_back(read.shape[1])
        ids = torch.tensor([[row.ids[-1]] for row in rows], device=mask.device)
        # The encoder's states are not asked for any more, but for their shape: their keys and values are there.
        shape = (*read.shape, self.inner.config.hidden_size)
        states = torch.zeros((), dtype=self.inner.dtype, device=mask.device).expand(shape)
        logits = self._decoder(states, read, ids, mask, EncoderDecoderCache(self.own, self.cross.in_use()))
        self.own.written()
        return logits

    def replace(self, holes: list[int], movers: list[int], rows: int) -> None:
        """Move the rows `movers` into the `holes`; the first `rows` rows stay."""
        self.own.replace(holes, movers, rows)
        self.cross.replace(holes, movers, rows)

    def _encoded(self, prompts: list[tuple[int, ...]]) -> tuple[Float[Tensor, "P S H"], Int[Tensor, "P S"]]:
        """The encoder's states of different prompts, which all end at the last column, and their mask."""
        ids, mask = padded([list(prompt) for prompt in prompts], self.inner.device, "left")
        new = [i for i, prompt in enumerate(prompts) if prompt not in self.known]
        found: list[Tensor] = []
        if new:
            width = max(len(prompts[i]) for i in new)
            output = self.inner.get_encoder()(input_ids=ids[new, -width:], attention_mask=mask[new, -width:])
            found = list(output.last_hidden_state)
        by_prompt = self.known | {prompts[i]: states for i, states in zip(new, found, strict=True)}
        like = by_prompt[prompts[0]]
        every = like.new_zeros(*ids.shape, like.shape[-1])
        for i, prompt in enumerate(prompts):
            every[i, -len(prompt) :] = by_prompt[prompt][-len(prompt) :]
        self.known = {prompts[-1]: every[-1, -len(prompts[-1]) :].clone()}
        return every, mask

    def _decoder(
        self,
        states: Float[Tensor, "B S H"],
        read: Int[Tensor, "B S"],
        ids: Int[Tensor, "B 1"],
        mask: Int[Tensor, "B T"] | None,
        kept: EncoderDecoderCache,
    ) -> Float[Tensor, "B V"]:
        """The logits behind one more token of every row, whose keys and values are added to what is kept."""
        output = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),  # pyright: ignore[reportArgumentType]
            attention_mask=read,
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            past_key_values=kept,
            use_cache=True,
        )
        return output.logits[:, -1]
