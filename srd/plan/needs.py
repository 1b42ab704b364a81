"""What a run will need, before it: memory, disk, arithmetic and time of every stage, estimated from the config.

Nothing is computed but sums; what they rest on is measured (`Lengths`, this machine's speed) or a data sheet's
(`GPUS`).
"""

from dataclasses import asdict, dataclass, replace
from functools import cached_property

from srd.config import SPARSE, Config
from srd.distillation.records import record_of
from srd.models.facts import Facts
from srd.pipeline import scoring
from srd.plan.lengths import Lengths
from srd.plan.machines import Machine
from srd.plan.work import BINS_BYTES, SIGNAL_BYTES, Device, Need
from srd.selection.curricula import CURRICULA
from srd.selection.importance import IMPORTANCE
from srd.selection.positions import asked, num_chosen
from srd.selection.ranking import SCORES, kept_count, reads_answers, sources
from srd.stages.costs import forward_flops, reading_flops, training_flops

HELD = ("weights", "gradients", "optimiser", "teacher", "teacher's head")
"""What stays in memory while dev prompts are answered between two epochs."""


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

    @property
    def device(self) -> Device:
        return Device(self.machine, self.cfg.engine, self.cfg.plan.utilisation, self.lengths)

    @property
    def gpus(self) -> int:
        """How many devices share the work; several processes on one processor gain nothing and need its memory each."""
        return self.cfg.engine.processes if self.machine.is_gpu else 1

    def to_do(self) -> list[Need]:
        """The needs of the stages that are not there yet."""
        return [need for need in self.needs() if need.stage not in self.finished]

    def needs(self) -> list[Need]:
        """The stages of `srd run` that take long, in their order."""
        cfg, n, device = self.cfg, self.lengths, self.device
        stages = self._finetunings()
        signals = [name for order in cfg.orders for name in order]
        read = set(sources(cfg.orders).values())
        if reads_answers(signals):
            limit, answers = cfg.reflect.generation.max_new_tokens, n.samples * cfg.reflect.answers
            stages.append(device.answer("reflect", self.student, answers, n.samples, limit, prompts=n.samples))
        readers = {"student": [self.student], "teacher": [self.student, self.teacher]}
        stages += [
            device.score(f"score {each}", readers[each], n.samples, SIGNAL_BYTES)
            for each, source in SCORES.items()
            if source in read
        ]
        if cfg.method.responses == "teacher":
            stages.append(device.answer("answers", self.teacher, n.samples, 0, cfg.method.answers.max_new_tokens))
        if cfg.caches_teacher:
            stages.append(device.read("cache", self.teacher, self._cached_samples, self._bytes_each))
        stages.append(self._distill())
        stages += self._evaluations()
        return [replace(need, seconds=need.seconds / self.gpus) for need in stages]

    def _finetunings(self) -> list[Need]:
        needs = []
        for role, facts in (("teacher", self.teacher), ("student", self.student)):
            recipe = self.cfg.model.side(role).finetune
            if recipe.epochs > 0:
                passes = (self.lengths.warmup if recipe.reads_warmup else self.lengths.samples) * recipe.epochs
                need = self.device.train(f"finetune {role}", facts, recipe, passes, {})
                weights_bytes = facts.parameters * facts.weight_bytes
                needs.append(replace(need, disk_bytes=need.disk_bytes + weights_bytes))
        return needs

    def _evaluations(self) -> list[Need]:
        cfg, needs = self.cfg, []
        greedy = cfg.evaluate.generation.temperature == 0
        asked, read = self._test_rows(), self._test_rows(read=True)
        answers = asked * (1 if greedy else len(cfg.evaluate.seeds))
        for target in cfg.evaluate.targets:
            facts = self.teacher if target == "teacher" else self.student
            limit = cfg.evaluate.generation.max_new_tokens
            if asked:
                needs.append(self.device.answer(f"evaluate {target}", facts, answers, answers, limit))
            if read:
                needs.append(self.device.score(f"likelihood {target}", [facts], read, BINS_BYTES))
        return needs

    def _test_rows(self, read: bool = False) -> int:
        """Test rows of the suites that are answered, or of those that are read for their likelihood."""
        chosen = scoring.is_read if read else scoring.is_answered
        return sum(count for suite, count in self.lengths.test_samples.items() if chosen(self.cfg, suite))

    @property
    def _is_sparse(self) -> bool:
        return self.cfg.caches_teacher and self.cfg.teacher.signal in SPARSE

    @property
    def _cached_samples(self) -> float:
        """All, or of those classes are kept for the samples that stay."""
        return kept_count(self.lengths.samples, self.cfg.filter.share) if self._is_sparse else self.lengths.samples

    @property
    def _bytes_each(self) -> float:
        """What the cache keeps of a position."""
        cfg, teacher = self.cfg, self.teacher
        if self._is_sparse:
            layout = {"signal": cfg.teacher.signal, "classes": asdict(cfg.selection.classes)}
        else:
            layout = {"width": teacher.hidden, "dtype": cfg.teacher.dtype or cfg.model.teacher.dtype}
        record = record_of(layout, teacher.vocabulary)
        return record.width * record.dtype.itemsize

    @property
    def _chosen_share(self) -> float:
        """Of the supervised positions, those at which both heads are computed with gradient."""
        many = 10_000
        return num_chosen(many, self.cfg.selection.positions, 0.0) / many

    @cached_property
    def passes(self) -> float:
        """Sample passes of the whole distillation; of weighed samples, those of weight zero among them, at most."""
        cfg = self.cfg
        kept = kept_count(self.lengths.samples, cfg.filter.share)
        ids = [str(i) for i in range(max(kept, cfg.num_phases))]
        phases = CURRICULA[cfg.curriculum.name](ids, cfg.curriculum) if cfg.num_phases > 1 else [ids]
        passes = sum(map(len, phases)) * cfg.distill.epochs
        is_bounded = cfg.filter.is_auto and cfg.filter.passes is not None
        return min(passes, cfg.filter.passes or passes) if is_bounded else passes

    def _distill(self) -> Need:
        """Training with the teacher's part in it, the dev answers, and what an on-policy method writes."""
        cfg, student = self.cfg, self.student
        need = self.device.train("distill", student, cfg.distill, self.passes, self._teacher_memory())
        dev_rows = cfg.distill.dev_samples * cfg.distill.epochs * cfg.num_phases
        if cfg.distill.answers_dev:
            dev = self.device.answer("dev", student, dev_rows, 0, cfg.evaluate.generation.max_new_tokens)
        else:
            dev = self.device.answer("dev", student, 0, dev_rows, 0)
        extra_flops = self._online_teacher_flops() + self._corpus_flops()
        # Rebuilding logits from hidden states takes time; the ledgers count no FLOPs for it.
        seconds = need.seconds + dev.seconds + (extra_flops + self._rebuilding_flops()) / self.device.speed
        if cfg.method.is_on_policy:
            data = cfg.method.student_data
            answers = max(1, data.share * self.passes)
            seconds += self.device.answer("written", student, answers, 0, data.generation.max_new_tokens).seconds
        # Dev answers and written ones come while the optimiser holds its moments.
        while_answering = {**dev.memory, **{part: need.memory.get(part, 0) for part in HELD}}
        memory = max(need.memory, while_answering, key=lambda parts: sum(parts.values()))
        checkpoints = cfg.num_phases + 1  # one a phase, and the best
        disk = need.disk_bytes + checkpoints * student.parameters * student.weight_bytes
        return replace(need, memory=memory, flops=need.flops + extra_flops, disk_bytes=disk, seconds=seconds)

    def _teacher_memory(self) -> dict[str, float]:
        """The head where the states come from disk, else all of it; nothing for a method without a divergence."""
        cfg, teacher = self.cfg, self.teacher
        if cfg.method.divergence is None:
            return {}
        if self._is_sparse:
            return {}
        if cfg.caches_teacher:
            return {"teacher's head": teacher.head_parameters * teacher.weight_bytes}
        return {"teacher": teacher.parameters * teacher.weight_bytes}

    def _online_teacher_flops(self) -> float:
        if self.cfg.method.divergence is None or self.cfg.caches_teacher:
            return 0
        n, passes = self.lengths, self.passes
        return reading_flops(self.teacher.size, passes * n.prompt, passes * n.response)

    def _rebuilding_flops(self) -> float:
        """The heads over the positions of every pass: the teacher's where it is asked for; and what a choice of
        positions adds to the student's, or saves there."""
        if self.cfg.method.divergence is None:
            return 0
        positions, share = self.passes * self.lengths.response, self._chosen_share
        signals = [IMPORTANCE[name] for name in asked(self.cfg.selection.positions)]
        rebuilt = 0.0 if self._is_sparse or not self.cfg.caches_teacher else 1.0
        rebuilt *= 1 if any(signal.teacher for signal in signals) else share
        looked_at = 1 if any(signal.student for signal in signals) else 0
        flops = forward_flops(self.teacher.head_parameters, positions * rebuilt)
        flops += forward_flops(self.student.head_parameters, positions * looked_at)
        return flops - training_flops(self.student.head_parameters, positions * (1 - share))

    def _corpus_flops(self) -> float:
        cfg = self.cfg
        if cfg.method.corpus.path is None:
            return 0
        steps = self.passes / cfg.distill.batch_sequences
        return training_flops(self.student.parameters, steps * cfg.method.corpus.batch_sequences * cfg.model.max_tokens)
