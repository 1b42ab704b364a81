"""What is measured: model shapes with random weights, and lengths as they are in Dolly."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from srd.config import Engine
from srd.text.encoding import Encoded

# Prompt (with template) and response tokens of rows of Dolly. The first 16 were drawn so that they stand for all: means
# of 92 and
# 89 tokens, the longest 386 (of any 16 in Dolly: mean 390, median 376). The other 32 are for what needs more rows.
DOLLY = [
    (38, 155), (109, 277), (256, 52), (54, 55), (232, 29), (47, 81), (164, 47), (123, 68),
    (51, 16), (45, 102), (50, 9), (43, 23), (41, 217), (45, 74), (50, 138), (131, 77),
    (119, 12), (92, 50), (192, 70), (240, 32), (39, 119), (44, 5), (44, 97), (37, 172),
    (245, 42), (107, 12), (186, 17), (39, 65), (47, 97), (47, 84), (43, 23), (45, 7),
    (37, 154), (60, 22), (40, 253), (37, 132), (52, 15), (123, 68), (44, 187), (49, 200),
    (45, 14), (38, 141), (38, 149), (35, 158), (36, 23), (59, 31), (42, 66), (38, 346),
]  # fmt: skip
SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
}
SMOLLM2 |= {"tie_word_embeddings": True, "max_position_embeddings": 2048}
GPT2 = {"vocab_size": 50257, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


@dataclass(frozen=True)
class Shapes:
    """One machine's workload."""

    name: str
    kind: str
    teacher: dict[str, Any]
    student: dict[str, Any]
    engine: Engine = field(default_factory=Engine)
    batch_sequences: int = 16
    padded_tokens: int = 512
    prompt_tokens: int = 256
    new_tokens: int = 256
    prompts: int = 80
    profiled: bool = False
    compiled: bool = False
    """Whether `engine.compile` is tried as well; on the processor that takes longer than `make bench` has."""

    def lengths(self) -> list[tuple[int, int]]:
        """Prompt and response tokens of the rows, within the shape's limits."""
        scale = self.padded_tokens / 512
        pairs = [(max(2, round(p * scale)), max(2, round(r * scale))) for p, r in DOLLY]
        return [(p, min(r, self.padded_tokens - p)) for p, r in pairs]

    def rows(self) -> list[Encoded]:
        """Rows of those lengths with random ids."""
        generator = torch.Generator().manual_seed(5)
        top = self.teacher["vocab_size"]

        def ids(count: int) -> list[int]:
            return torch.randint(3, top, (count,), generator=generator).tolist()

        return [Encoded(f"{i:016x}", ids(p), ids(r), False) for i, (p, r) in enumerate(self.lengths())]

    def model(self, role: str, device: torch.device, seed: int = 0) -> PreTrainedModel:
        """The teacher or the student with random weights, float32."""
        settings = AutoConfig.for_model(self.kind, **(self.teacher if role == "teacher" else self.student))
        torch.manual_seed(seed)
        net = AutoModelForCausalLM.from_config(settings, dtype=torch.float32)
        torch.nn.Module.to(net, device)
        return net.eval()


CPU = Shapes(
    "SmolLM2-135M-shaped teacher (30 layers), 10-layer student",
    "llama",
    {**SMOLLM2, "num_hidden_layers": 30},
    {**SMOLLM2, "num_hidden_layers": 10},
)
GPU = Shapes(
    "GPT-2 XL-shaped teacher, GPT-2 124M-shaped student",
    "gpt2",
    {**GPT2, "n_embd": 1600, "n_layer": 48, "n_head": 25},
    {**GPT2, "n_embd": 768, "n_layer": 12, "n_head": 12},
    Engine(
        device="cuda", precision="bfloat16", micro_batch_tokens=16384, loss_positions=4096, generation_sequences=256
    ),
    prompts=768,
    profiled=True,
    compiled=True,
)
TINY = Shapes(
    "tiny shapes: to see that it runs",
    "gpt2",
    {**GPT2, "vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
    {**GPT2, "vocab_size": 300, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 256},
    padded_tokens=64,
    prompt_tokens=32,
    new_tokens=24,
    profiled=True,
    compiled=True,
)
