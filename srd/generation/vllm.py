"""Answers by vLLM, for stages whose weights stand still: reflection, the teacher's answers, the evaluation.

Greedy answers are the model's own, to float noise. Sampled ones come from vLLM's streams, seeded row by row with our
seeds; they are other draws than ours, which is why the fingerprint of a sampled stage names its sampler.
"""

import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Engine, Generation
from srd.errors import UserError
from srd.generation.answers import Answer, stop_ids, stream_seed
from srd.models.checkpoints import save_model
from srd.text.encoding import Encoded, text_of

GPU_SHARE = 0.6
"""Share of the GPU's memory for vLLM; the model stays beside it to score the references."""


@contextmanager
def vllm_answerer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, engine: Engine, max_tokens: int
) -> Iterator["VllmAnswerer"]:
    """A vLLM engine with the model's weights, which are handed over in a folder; both are gone when the stage ends."""
    vllm = _vllm()
    with tempfile.TemporaryDirectory(prefix="srd-vllm-") as folder:
        save_model(model, tokenizer, Path(folder))
        llm = vllm.LLM(
            model=folder,
            dtype="bfloat16" if engine.precision == "bfloat16" else str(model.dtype).removeprefix("torch."),
            max_num_seqs=engine.generation_sequences,
            max_model_len=max_tokens,
            gpu_memory_utilization=GPU_SHARE,
        )
        try:
            yield VllmAnswerer(llm, vllm.SamplingParams, model, tokenizer)
        finally:
            # The next stage needs the memory, and vLLM gives it back only when its engine is shut down.
            llm.llm_engine.engine_core.shutdown()
            del llm
            gc.collect()
            torch.cuda.empty_cache()


class VllmAnswerer:
    """A model answering through vLLM."""

    def __init__(self, llm: Any, sampling: Any, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.llm = llm
        self.sampling = sampling
        self.tokenizer = tokenizer
        self.stops = stop_ids(model, tokenizer)
        # Rows that pad the vocabulary hold noise: a bias of -100 keeps them from being drawn.
        rows = len(model.get_input_embeddings().weight)  # pyright: ignore[reportArgumentType]
        self.banned = dict.fromkeys(range(len(tokenizer), rows), -100.0)

    def __call__(
        self, rows: list[Encoded], settings: Generation, seeds: list[int], tick: Callable[[int], None]
    ) -> list[Answer]:
        """One answer for every row's prompt, in the order of `rows`."""
        options: dict[str, Any] = {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": settings.top_k or -1,
            "max_tokens": settings.max_new_tokens,
            "stop_token_ids": sorted(self.stops),
            "logit_bias": self.banned or None,
            "detokenize": False,
        }
        # vLLM's seeds are signed: one bit less.
        streams = [stream_seed(seed, row.id) >> 1 for row, seed in zip(rows, seeds, strict=True)]
        outputs = self.llm.generate(
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
            "engine.generation_backend=vllm: the package vllm is not installed; run `pip install 'srd[vllm]'` (needs a "
            "GPU), or use engine.generation_backend=transformers"
        ) from None
    return vllm
