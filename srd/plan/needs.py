"""What a run will need, before it: memory, disk, arithmetic and time of every stage, reckoned from the config.

Nothing is computed but sums; what they rest on is measured (`Lengths`, this machine's speed) or a data sheet's
(`GPUS`). FLOPs are counted as the ledgers count them: 2 a parameter and token read, 6 a parameter and token trained on.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

from srd.config import Config, Recipe
from srd.models.facts import Facts
from srd.plan.lengths import Lengths
from srd.plan.machines import Machine

LOSS_TENSORS = 9
"""Float32 tensors of chunk x vocabulary that the loss and its gradient hold at once (measured by `make bench`:
loss_peak_memory)."""


AUTOCAST = 0.6
"""Share of float32 activation bytes that bfloat16 autocast keeps: norms and residuals stay float32."""


STEP_SECONDS_PER_LAYER = 2.5e-4
"""Of a decoding step on a GPU, where launching kernels takes longer than running them."""


TYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


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
class RunEstimate:
    """Everything the sums need."""

    cfg: Config
    teacher: Facts
    student: Facts
    lengths: Lengths
    machine: Machine
    finished: frozenset[str] = frozenset()
    """Stages that have nothing left to do."""

    def to_do(self) -> list[Need]:
        """The needs of the stages that are not there yet."""
        return [need for need in self.needs() if need.stage not in self.finished]

    def needs(self) -> list[Need]:
        """The stages of `srd run` that take long, in their order."""
        cfg, n = self.cfg, self.lengths
        stages = []
        for role, facts in (("teacher", self.teacher), ("student", self.student)):
            recipe = cfg.model.side(role).finetune
            if recipe.epochs > 0:
                stages.append(self._train(f"finetune {role}", facts, recipe, n.samples * recipe.epochs, {}))
        if self._reflects:
            stages.append(
                self._answer("reflect", self.student, n.samples, n.samples, cfg.reflect.generation.max_new_tokens)
            )
        if cfg.method.responses == "teacher":
            stages.append(self._answer("answers", self.teacher, n.samples, 0, cfg.method.answers.max_new_tokens))
        if cfg.caches_teacher:
            stages.append(self._cache())
        stages.append(self._distill())
        for target in cfg.evaluate.targets:
            facts = self.teacher if target == "teacher" else self.student
            greedy = cfg.evaluate.generation.temperature == 0
            rows = sum(n.test_samples.values())
            count = rows * (1 if greedy else len(cfg.evaluate.seeds))
            stages.append(
                self._answer(f"evaluate {target}", facts, count, count, cfg.evaluate.generation.max_new_tokens)
            )
        return [replace(need, seconds=need.seconds / self.gpus) for need in stages]

    @property
    def gpus(self) -> int:
        """How many devices share the work; several processes on one processor gain nothing and need its memory each."""
        return self.cfg.engine.processes if self.machine.is_gpu else 1

    @property
    def _reflects(self) -> bool:
        """Whether some order that the run reads comes from the student's answers."""
        from srd.selection.ranking import REFLECTED

        cfg, signals = self.cfg, list[str]()
        chosen = cfg.filter.keep < 1 and cfg.filter.by != "rank"
        if cfg.is_ordered or (cfg.filter.keep < 1 and not chosen):
            signals += cfg.rank.signals
        if chosen:
            signals.append(cfg.filter.by)
        return any(signal in REFLECTED for signal in signals)

    @cached_property
    def passes(self) -> float:
        """Sample passes of the whole distillation."""
        from srd.selection.curricula import CURRICULA

        cfg = self.cfg
        kept = int(self.lengths.samples * cfg.filter.keep + 1e-9)
        ids = [str(i) for i in range(max(kept, cfg.num_phases))]
        phases = CURRICULA[cfg.curriculum.name](ids, cfg.curriculum) if cfg.num_phases > 1 else [ids]
        return sum(map(len, phases)) * cfg.distill.epochs

    def _distill(self) -> Need:
        cfg, teacher, tokens = self.cfg, self.teacher, self.passes * self.lengths.total
        held: dict[str, float] = {}
        flops = 0.0
        if cfg.method.divergence is not None:
            part = teacher.head_parameters if cfg.caches_teacher else teacher.parameters
            held["teacher's head" if cfg.caches_teacher else "teacher"] = part * teacher.weight_bytes
            flops = 0 if cfg.caches_teacher else 2 * teacher.parameters * tokens
        need = self._train("distill", self.student, cfg.distill, self.passes, held)
        student = self.student
        folders = cfg.num_phases + 1  # a checkpoint a phase, and the best
        rebuilt = 2 * teacher.head_parameters * self.passes * self.lengths.response if cfg.caches_teacher else 0
        dev = self._answer("dev", student, self._dev_answers(), 0, cfg.evaluate.generation.max_new_tokens)
        data, corpus = cfg.method.student_data, cfg.method.corpus
        written = self._answer("written", student, max(1, data.share * self.passes), 0, data.generation.max_new_tokens)
        seconds = (
            need.seconds
            + (flops + rebuilt) / self._speed
            + dev.seconds
            + (written.seconds if cfg.method.is_on_policy else 0)
        )
        if corpus.path is not None:
            steps = self.passes / cfg.distill.batch_sequences
            beside = 6 * student.parameters * steps * corpus.batch_sequences * cfg.model.max_tokens
            flops, seconds = flops + beside, seconds + beside / self._speed
        # Dev answers and written ones come while the optimiser holds its moments.
        held = {
            part: need.memory.get(part, 0)
            for part in ("weights", "gradients", "optimiser", "teacher", "teacher's head")
        }
        while_answering = {**dev.memory, **held}
        memory = max(need.memory, while_answering, key=lambda parts: sum(parts.values()))
        disk = need.disk_bytes + folders * student.parameters * student.weight_bytes
        return replace(need, memory=memory, flops=need.flops + flops, disk_bytes=disk, seconds=seconds)

    def _dev_answers(self) -> float:
        return self.cfg.distill.dev_samples * self.cfg.distill.epochs * self.cfg.num_phases

    def _train(self, stage: str, facts: Facts, recipe: Recipe, passes: float, held: dict[str, float]) -> Need:
        engine, tokens = self.cfg.engine, passes * self.lengths.total
        micro = min(engine.micro_batch_tokens, max(self.lengths.longest, recipe.batch_sequences * self.lengths.total))
        share = AUTOCAST if engine.precision == "bfloat16" else 1.0
        one_layer = facts.boundary_bytes + facts.activation_bytes / facts.layers
        kept = one_layer if engine.gradient_checkpointing else facts.activation_bytes
        chunk = min(engine.loss_positions, micro * self.lengths.response / self.lengths.total)
        memory = {
            "weights": facts.parameters * facts.weight_bytes,
            "gradients": facts.trainable * facts.weight_bytes,
            "optimiser": 2 * facts.trainable * facts.weight_bytes,
            "activations": micro * kept * share,
            "loss": LOSS_TENSORS * chunk * facts.vocabulary * 4
            + 2 * 4 * facts.head_parameters * (chunk == engine.loss_positions),
            **held,
        }
        memory |= self._copies(facts)
        flops = 6 * facts.parameters * tokens
        again = 4 / 3 if engine.gradient_checkpointing else 1
        disk = 3 * facts.trainable * facts.weight_bytes + facts.parameters * facts.weight_bytes * (stage != "distill")
        return Need(stage, memory, disk, flops, flops * again / self._speed)

    def _copies(self, facts: Facts) -> dict[str, float]:
        """The weights in bfloat16 that autocast keeps beside float32 ones."""
        doubled = self.cfg.engine.precision == "bfloat16" and facts.weight_bytes == 4
        return {"bfloat16 weights": 2 * facts.parameters} if doubled else {}

    def _answer(self, stage: str, facts: Facts, answers: float, scored: float, limit: int) -> Need:
        """`answers` answers, and the references of `scored` rows read beside."""
        engine, n = self.cfg.engine, self.lengths
        places = min(engine.generation_sequences, max(1, answers))
        written = min(n.answer, limit)
        read = answers * n.prompt + scored * n.total
        small = TYPE_BYTES[engine.precision] / 4
        memory = {
            "weights": facts.parameters * facts.weight_bytes,
            "keys and values": places * (n.longest - n.response + limit) * facts.state_bytes * small,
            "reading": min(engine.micro_batch_tokens, answers * n.total)
            * facts.activation_bytes
            / facts.layers
            * small,
            "logits": 3 * 4 * facts.vocabulary * max(places, min(engine.loss_positions, engine.micro_batch_tokens)),
            **self._copies(facts),
        }
        flops = 2 * facts.parameters * (read + answers * written)
        # A step reads all weights once and all keys and values of the rows, and computes the rows.
        moved = facts.parameters * facts.weight_bytes * small
        moved += places * (n.prompt + written / 2) * facts.state_bytes * small
        step = max(moved / self.machine.bytes_per_second, 2 * facts.parameters * places / self._speed)
        if self.machine.is_gpu:
            step = max(step, STEP_SECONDS_PER_LAYER * facts.layers)
        seconds = 2 * facts.parameters * read / self._speed + step * answers * written / places
        return Need(stage, memory, answers * 400, flops, seconds)

    def _cache(self) -> Need:
        facts, n = self.teacher, self.lengths
        engine = self.cfg.engine
        stored = TYPE_BYTES[self.cfg.teacher.dtype or self.cfg.model.teacher.dtype]
        small = TYPE_BYTES[engine.precision] / 4
        memory = {
            "weights": facts.parameters * facts.weight_bytes,
            "reading": engine.micro_batch_tokens * facts.activation_bytes / facts.layers * small,
            **self._copies(facts),
        }
        disk = n.samples * n.response * facts.hidden * stored + facts.head_parameters * facts.weight_bytes
        flops = 2 * facts.parameters * n.samples * n.total
        return Need("cache", memory, disk, flops, flops / self._speed)

    @property
    def _speed(self) -> float:
        """FLOP/s that training and reading reach."""
        best = self.machine.bfloat16_flops if self.cfg.engine.precision == "bfloat16" else self.machine.float32_flops
        return best * self.cfg.plan.utilisation
