"""Answers by vLLM, for stages whose weights stand still: reflection, the teacher's answers, the evaluation.

Greedy answers are the model's own, to float noise. Sampled ones come from vLLM's streams, seeded row by row with our seeds;
they are other draws than ours, which is why the fingerprint of a sampled stage names its sampler.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Engine, Generation
from srd.errors import UserError
from srd.generate import Answer, stop_ids, stream_seed
from srd.models import save_model
from srd.tokens import Encoded, text_of

GPU_SHARE = 0.6
"""Share of the GPU's memory for vLLM; the model stays beside it to score the references."""


class Served:
    """A model answering through vLLM; its weights are handed over in a folder that goes when the stage ends."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, engine: Engine) -> None:
        vllm = _vllm()
        self.tokenizer, self.stops, self.sampling = tokenizer, stop_ids(model, tokenizer), vllm.SamplingParams
        rows = len(model.get_input_embeddings().weight)  # pyright: ignore[reportArgumentType]
        self.allowed = list(range(len(tokenizer))) if rows > len(tokenizer) else None
        self.folder = tempfile.TemporaryDirectory(prefix="srd-vllm-")
        save_model(model, tokenizer, Path(self.folder.name))
        dtype = "bfloat16" if engine.precision == "bfloat16" else str(model.dtype).removeprefix("torch.")
        self.engine = vllm.LLM(
            model=self.folder.name, dtype=dtype, max_num_seqs=engine.generation_sequences, gpu_memory_utilization=GPU_SHARE
        )

    def __call__(self, rows: list[Encoded], settings: Generation, seeds: list[int], tick: Callable[[int], None]) -> list[Answer]:
        """One answer for every row's prompt, in the order of `rows`."""
        options: dict[str, Any] = {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": settings.top_k or -1,
            "max_tokens": settings.max_new_tokens,
            "stop_token_ids": sorted(self.stops),
            "allowed_token_ids": self.allowed,
            "detokenize": False,
        }
        streams = [stream_seed(seed, row.id) >> 1 for row, seed in zip(rows, seeds, strict=True)]  # vLLM's seeds are signed
        outputs = self.engine.generate(
            [{"prompt_token_ids": row.prompt} for row in rows],
            [self.sampling(seed=stream, **options) for stream in streams],
            use_tqdm=False,
        )
        tick(len(rows))
        return [self._answer(list(output.outputs[0].token_ids)) for output in outputs]

    def _answer(self, ids: list[int]) -> Answer:
        cut = not ids or ids[-1] not in self.stops
        return Answer(text_of(ids if cut else ids[:-1], self.tokenizer), ids, cut)


def _vllm() -> Any:
    try:
        import vllm  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "engine.generation_backend=vllm: the package vllm is not installed; run `pip install 'srd[vllm]'` (needs a GPU), "
            "or use engine.generation_backend=transformers"
        ) from None
    return vllm
