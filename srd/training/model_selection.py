"""The choice of weights: dev answers or the dev loss after every epoch, checkpoints after every phase."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from srd.config import Code, Distill, Engine, Generation
from srd.distillation.reference import reference_nll
from srd.generation.answerer import answer
from srd.metrics import BLIND, CRITERIA, NLL, Metric, blind_share, dev_column, metrics_of_all
from srd.metrics.bert import Embedder
from srd.models.checkpoints import save_model
from srd.runtime.progress import say
from srd.store.rows import Sample
from srd.text.encoding import Encoded
from srd.training.state import TrainingState
from srd.training.student_data import StudentResponses

DEV = "dev evaluation"
"""The part of a training's seconds in which the dev split is answered and read."""


@dataclass(frozen=True)
class DevSet:
    """The dev prompts, longest first, and how they are answered, if they are."""

    pairs: list[tuple[Sample, Encoded]]
    tokenizer: PreTrainedTokenizerBase
    generation: Generation | None
    seed: int
    code: Code | None = None
    embedder: Embedder | None = None

    def score(self, student: Any, engine: Engine, name: str) -> float:
        """Mean metric (by its name) of the student's answers, decoded as in the evaluation."""
        assert self.generation is not None, "dev prompts are answered where a metric of answers chooses"
        rows, seeds = [row for _, row in self.pairs], [self.seed] * len(self.pairs)
        answers = answer(student, rows, self.tokenizer, self.generation, seeds, engine)
        texts, samples = [a.text for a in answers], [sample for sample, _ in self.pairs]
        scores = metrics_of_all(texts, samples, [name], self.code, self.embedder)
        return sum(score[name] for score in scores) / len(scores)

    @property
    def num_tokens(self) -> int:
        """About what one evaluation takes: the tokens of the prompts with their references."""
        return sum(row.num_tokens for _, row in self.pairs)

    def loss(self, student: Any, engine: Engine) -> float:
        """Mean over the dev samples of their references' NLL, nats per token."""
        losses = reference_nll(student, [row for _, row in self.pairs], self.tokenizer, engine)
        return sum(losses) / len(losses)


@dataclass
class ModelSelection:
    """What happens between epochs and phases: the dev answers choose the best weights, checkpoints are left behind."""

    state: TrainingState
    dev: DevSet
    engine: Engine
    recipe: Distill
    num_phases: int

    @cached_property
    def selected_by(self) -> str:
        """The metric that chooses, or `nll` where it sees nothing in most dev references: then scores are equal, or
        differ by chance."""
        if not self.recipe.answers_dev:
            return NLL
        if blind_share(self.recipe.select_by, [sample for sample, _ in self.dev.pairs]) < BLIND:
            return self.recipe.select_by
        say(f"distill.select_by={self.recipe.select_by} cannot choose the best weights here: their dev loss does")
        return NLL

    @property
    def metric(self) -> Metric:
        """What decides which weights are better."""
        return CRITERIA[self.recipe.select_by]

    @property
    def _adaptive(self) -> StudentResponses | None:
        """The on-policy data whose share follows the dev loss, if any."""
        data = self.state.on_policy
        return data if isinstance(data, StudentResponses) and data.settings.adaptive else None

    def begin(self) -> None:
        """The dev loss before the first step, which later ones are measured against."""
        data = self._adaptive
        if data is not None and data.dev_loss_mark is None:
            with self.state.clock.part(DEV):
                data.observe(self.dev.loss(self.state.model, self.engine))

    def end_epoch(self, phase: int, epoch: int) -> None:
        """Answer the dev prompts, or take their loss alone; keep the weights where they are the best so far."""
        c, student, data = self.state.counters, self.state.model, self._adaptive
        row: dict[str, Any] = {"step": c.step, "phase": phase, "epoch": epoch}
        score = None
        with self.state.clock.part(DEV):
            if self.recipe.answers_dev:
                score = row[dev_column(self.recipe.select_by)] = self.dev.score(
                    student, self.engine, self.recipe.select_by
                )
            nll = row[dev_column(NLL)] = self.dev.loss(student, self.engine)
        if data is not None:
            data.observe(nll)
            row["dev/student_share"] = data.share
        self.state.append("dev", row)
        if self.recipe.handover == "best" and self._is_better(score, nll, c.phase_score, c.phase_nll):
            c.phase_score, c.phase_nll = score, nll
            self.state.snapshot()
        if self._is_better(score, nll, c.best_score, c.best_nll):
            c.best_score, c.best_nll, c.best_phase, c.best_epoch = score, nll, phase, epoch
            save_model(student, self.dev.tokenizer, self.state.beside.prepare("best"))

    def _is_better(self, score: float | None, nll: float, best: float | None, best_nll: float | None) -> bool:
        """Whether weights with these dev values are better: by the metric, by the dev loss where that says nothing."""
        if best_nll is None:
            return True
        if score is None or self.selected_by == NLL or score == best:
            return nll < best_nll
        return self.metric.is_better(score, best)

    def end_phase(self, phase: int) -> None:
        """Leave the phase's weights: its last, or with `handover: best` its best."""
        if self.recipe.handover == "best":
            self.state.restore_snapshot()
        save_model(self.state.model, self.dev.tokenizer, self.state.beside.prepare(f"phase-{phase}"))
        c = self.state.counters
        value = c.best_score if self.recipe.answers_dev else c.best_nll
        best = self.metric.shown(self.metric.scale * (value or 0))
        by = f", by its loss {c.best_nll:.3f} nats" if self.recipe.answers_dev and self.selected_by == NLL else ""
        say(f"phase {phase + 1} of {self.num_phases} done, best dev {self.metric.column} so far {best}{by}")
