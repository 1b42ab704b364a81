"""How it is computed, planned and logged; never what."""

import re
from dataclasses import dataclass

from srd.errors import MOST, require, require_whole

MOST_PROCESSES, MOST_THREADS = 1024, 4096
"""More than any machine has: a slip."""


@dataclass
class Engine:
    """How it is computed; never what. Outside every fingerprint, recorded in every manifest.

    Results agree across engines to float tolerance, but for dropout (GPT-2, LoRA), whose draws depend
    on how a step is cut into micro-batches.
    """

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = "float32"
    """Autocast of the forward passes: float32 (off) or bfloat16."""
    micro_batch_tokens: int = 4096
    """Largest padded size of one forward pass in training and scoring."""
    loss_positions: int = 512
    """Positions whose logits exist at once in the loss; beyond that they are computed in turn."""
    compile: bool = False
    """The loss compiled (torch.compile): fewer passes over the logits, for half a minute at the first step; needs a C++
    compiler."""
    generation_sequences: int = 64
    """Prompts answered together."""
    generation_backend: str = "transformers"
    """Who answers in reflection, evaluation and for the teacher: transformers (this process), or vllm (a GPU, its own
    sampling)."""
    gradient_checkpointing: bool = False
    """Compute a layer's activations again for the gradient instead of keeping them: less memory, a third more
    arithmetic."""
    save_steps: int = 50
    """Optimiser steps between two saved training states."""
    processes: int = 1
    """Processes of this machine that share every stage with a model: one a GPU, or several on the processor."""
    threads: int | None = None
    """CPU threads of a process; none: all cores, shared out among the processes."""

    def check(self, key: str) -> None:
        known = re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", self.device)
        require(known is not None, f"{key}.device", self.device, "auto, cpu, cuda, cuda:N or mps")
        require(self.precision in ("float32", "bfloat16"), f"{key}.precision", self.precision, "float32 or bfloat16")
        for name in ("micro_batch_tokens", "loss_positions", "generation_sequences", "save_steps"):
            require_whole(f"{key}.{name}", getattr(self, name), 1, MOST)
        require_whole(f"{key}.processes", self.processes, 1, MOST_PROCESSES)
        if self.threads is not None:
            require_whole(f"{key}.threads", self.threads, 1, MOST_THREADS)
        choices = ("transformers", "vllm")
        require(
            self.generation_backend in choices,
            f"{key}.generation_backend",
            self.generation_backend,
            " or ".join(choices),
        )
        if self.processes > 1:
            kinds = ("auto", "cpu", "cuda")
            require(
                self.device in kinds,
                f"{key}.device",
                self.device,
                f"auto, cpu or cuda beside {key}.processes={self.processes}",
            )
            backend = f"transformers beside {key}.processes={self.processes}"
            require(
                self.generation_backend == "transformers", f"{key}.generation_backend", self.generation_backend, backend
            )


DEFAULT_ENGINE = Engine()


@dataclass
class Plan:
    """What `srd plan` estimates with where the data or the machine are not at hand."""

    gpu: str | None = None
    """A key of `srd.plan.GPUS`; none: this machine, its speed measured."""
    memory_gb: float | None = None
    """Memory to fit into, 10^9 bytes; none: all that the device has."""
    samples: int | None = None
    """Training samples; none: as many as the samples artefact has."""
    test_samples: int | None = None
    """Test samples of a suite; none: as many as its samples artefact has."""
    prompt_tokens: float | None = None
    """Mean length of a prompt with its template; none: measured on the samples."""
    response_tokens: float | None = None
    """Mean length of a reference with its EOS; none: measured on the samples."""
    answer_tokens: float | None = None
    """Mean length of an answer; none: as long as a reference."""
    utilisation: float = 0.35
    """Share of the device's matrix speed that training reaches."""

    def check(self, key: str) -> None:
        for name in ("memory_gb", "samples", "test_samples", "prompt_tokens", "response_tokens", "answer_tokens"):
            value = getattr(self, name)
            require(value is None or value > 0, f"{key}.{name}", value, "more than 0")
        require(0 < self.utilisation <= 1, f"{key}.utilisation", self.utilisation, "a share in (0, 1]")


@dataclass
class Logger:
    """Where scalars go besides `metrics.jsonl`."""

    name: str = "none"
    """A key of `srd.loggers.LOGGERS`."""
    project: str = "srd"
    """W&B project."""
    mode: str = "offline"
    """W&B mode: offline or online."""

    def check(self, key: str) -> None:
        require(self.mode in ("offline", "online"), f"{key}.mode", self.mode, "offline or online")
