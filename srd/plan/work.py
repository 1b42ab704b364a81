"""What one kind of work needs on a device: training, answering, reading; FLOPs are counted as in the ledgers."""

from dataclasses import dataclass, field

from srd.config import DTYPE_BYTES, Engine, Recipe
from srd.models.facts import Facts
from srd.plan.lengths import Lengths
from srd.plan.machines import Machine
from srd.stages.costs import reading_flops

LOSS_TENSORS = 9
"""Float32 tensors of chunk x vocabulary that the loss and its gradient hold at once (measured by `make bench`:
loss_peak_memory)."""
AUTOCAST = 0.6
"""Share of float32 activation bytes that bfloat16 autocast keeps: norms and residuals stay float32."""
STEP_SECONDS_PER_LAYER = 2.5e-4
"""Of a decoding step on a GPU, where launching kernels takes longer than running them."""
ANSWER_BYTES = 400
"""Of an answer's row on disk."""
SIGNAL_BYTES = 120
"""Of a row of signals on disk."""
BINS_BYTES = 500
"""Of a row of likelihoods, with its bins."""


@dataclass(frozen=True)
class Need:
    """What one stage needs."""

    stage: str
    memory: dict[str, float] = field(default_factory=dict)
    """Bytes by part."""
    disk_bytes: float = 0
    flops: float = 0
    seconds: float = 0

    @property
    def memory_bytes(self) -> float:
        return sum(self.memory.values())


@dataclass(frozen=True)
class Device:
    """A machine under the engine's settings, with rows of some lengths before it."""

    machine: Machine
    engine: Engine
    utilisation: float
    """Share of its matrix speed that is reached."""
    lengths: Lengths

    @property
    def speed(self) -> float:
        """FLOP/s that training and reading reach."""
        is_half = self.engine.precision == "bfloat16"
        return self.utilisation * (self.machine.bfloat16_flops if is_half else self.machine.float32_flops)

    @property
    def _half(self) -> float:
        """Bytes of a computed number beside those of a float32."""
        return DTYPE_BYTES[self.engine.precision] / 4

    def train(self, stage: str, facts: Facts, recipe: Recipe, passes: float, held: dict[str, float]) -> Need:
        """`passes` samples through optimiser steps, with what is `held` in memory meanwhile; without checkpoints."""
        engine, n = self.engine, self.lengths
        longest_step = max(n.longest, recipe.batch_sequences * n.total)
        micro_batch = min(engine.micro_batch_tokens, longest_step)
        one_layer = facts.boundary_bytes + facts.activation_bytes / facts.layers
        kept = one_layer if engine.gradient_checkpointing else facts.activation_bytes
        chunk = min(engine.loss_positions, micro_batch * n.response / n.total)
        loss_bytes = LOSS_TENSORS * 4 * chunk * facts.vocabulary
        if chunk == engine.loss_positions:  # several chunks: their gradients of the head are summed in float32
            loss_bytes += 2 * 4 * facts.head_parameters
        memory = {
            "weights": facts.parameters * facts.weight_bytes,
            "gradients": facts.trainable * facts.weight_bytes,
            "optimiser": 2 * facts.trainable * facts.weight_bytes,
            "activations": micro_batch * kept * (AUTOCAST if engine.precision == "bfloat16" else 1.0),
            "loss": loss_bytes,
            **held,
            **self._copies(facts),
        }
        flops = 3 * reading_flops(facts.size, passes * n.prompt, passes * n.response)
        again = 4 / 3 if engine.gradient_checkpointing else 1
        state_bytes = 3 * facts.trainable * facts.weight_bytes
        return Need(stage, memory, state_bytes, flops, flops * again / self.speed)

    def answer(
        self, stage: str, facts: Facts, answers: float, scored: float, limit: int, prompts: float | None = None
    ) -> Need:
        """`answers` answers of at most `limit` tokens to as many prompts, or to `prompts`, and the references of
        `scored` rows read as well."""
        engine, n = self.engine, self.lengths
        slots = min(engine.generation_sequences, max(1, answers))
        written = min(n.answer, limit)
        read = (answers if prompts is None else prompts) * n.prompt + scored * n.prompt
        read_at_once = min(engine.micro_batch_tokens, answers * n.total)
        logits_at_once = max(slots, min(engine.loss_positions, engine.micro_batch_tokens))
        memory = {
            "weights": facts.parameters * facts.weight_bytes,
            "keys and values": slots * (n.longest - n.response + limit) * facts.state_bytes * self._half,
            "reading": read_at_once * facts.activation_bytes / facts.layers * self._half,
            "logits": 3 * 4 * facts.vocabulary * logits_at_once,
            **self._copies(facts),
        }
        reading = reading_flops(facts.size, read, scored * n.response)
        flops = reading + reading_flops(facts.size, 0, answers * written)
        step = self._decoding_step_seconds(facts, slots, n.prompt + written / 2)
        seconds = reading / self.speed + step * answers * written / slots
        return Need(stage, memory, answers * ANSWER_BYTES, flops, seconds)

    def _decoding_step_seconds(self, facts: Facts, slots: float, past: float) -> float:
        """One token for every slot, `past` tokens behind each: all weights and all keys and values are read once, the
        rows are computed, and on a GPU every layer's kernels are launched; the slowest of these decides."""
        moved = facts.parameters * facts.weight_bytes * self._half
        moved += slots * past * facts.state_bytes * self._half
        step = max(moved / self.machine.bytes_per_second, reading_flops(facts.size, 0, slots) / self.speed)
        return max(step, STEP_SECONDS_PER_LAYER * facts.layers) if self.machine.is_gpu else step

    def read(self, stage: str, facts: Facts, samples: float, bytes_each: float) -> Need:
        """A forward pass over `samples`, of whose positions `bytes_each` are kept on disk."""
        n = self.lengths
        layer = facts.activation_bytes / facts.layers
        memory = {
            "weights": facts.parameters * facts.weight_bytes,
            "reading": self.engine.micro_batch_tokens * layer * self._half,
            **self._copies(facts),
        }
        disk = samples * n.response * bytes_each + facts.head_parameters * facts.weight_bytes
        flops = reading_flops(facts.size, samples * n.prompt, samples * n.response)
        return Need(stage, memory, disk, flops, flops / self.speed)

    def score(self, stage: str, readers: list[Facts], rows: float, bytes_each: float) -> Need:
        """A forward pass of each of `readers` over `rows`, with what a chunk of positions makes of logits; of each row
        `bytes_each` are kept on disk."""
        n, engine = self.lengths, self.engine
        layer = max(facts.activation_bytes / facts.layers for facts in readers)
        chunk = min(engine.loss_positions, engine.micro_batch_tokens)
        copied = sum(sum(self._copies(facts).values()) for facts in readers)
        memory = {
            "weights": sum(facts.parameters * facts.weight_bytes for facts in readers),
            "reading": min(engine.micro_batch_tokens, max(n.longest, rows * n.total)) * layer * self._half,
            "logits": LOSS_TENSORS * 4 * chunk * max(facts.vocabulary for facts in readers),
            **({"bfloat16 weights": copied} if copied else {}),
        }
        flops = sum(reading_flops(facts.size, rows * n.prompt, rows * n.response) for facts in readers)
        return Need(stage, memory, rows * bytes_each, flops, flops / self.speed)

    def _copies(self, facts: Facts) -> dict[str, float]:
        """The weights in bfloat16 that autocast keeps beside float32 ones."""
        doubled = self.engine.precision == "bfloat16" and facts.weight_bytes == 4
        return {"bfloat16 weights": 2 * facts.parameters} if doubled else {}
