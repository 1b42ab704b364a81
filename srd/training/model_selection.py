"""The choice of weights: dev answers after every epoch, checkpoints after every phase."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from srd.config import Config
from srd.distillation.reference import reference_nll
from srd.generation.answerer import answer
from srd.metrics.rouge import rouge_l
from srd.models.checkpoints import save_model
from srd.runtime.progress import say
from srd.store.rows import Sample
from srd.text.encoding import Encoded
from srd.training.loop import Training
from srd.training.student_data import StudentResponses


@dataclass
class ModelSelection:
    """What happens between epochs and phases: the dev answers choose the best weights, checkpoints are left behind."""

    cfg: Config
    folder: Path
    training: Training
    tokenizer: PreTrainedTokenizerBase
    dev: list[tuple[Sample, Encoded]]
    on_policy: StudentResponses | None

    def begin(self) -> None:
        """The dev loss before the first step, which later ones are measured against."""
        if (
            self.on_policy is not None
            and self.cfg.method.student_data.adaptive
            and self.on_policy.dev_loss_mark is None
        ):
            self.on_policy.observe(dev_loss(self.training.state.model, self.dev, self.tokenizer, self.cfg))

    def end_epoch(self, phase: int, epoch: int) -> None:
        c, student = self.training.state.counters, self.training.state.model
        row = {
            "step": c.step,
            "phase": phase,
            "epoch": epoch,
            "dev/rouge_l": dev_rouge_l(student, self.dev, self.tokenizer, self.cfg),
        }
        if self.on_policy is not None and self.cfg.method.student_data.adaptive:
            row["dev/loss_nats"] = dev_loss(student, self.dev, self.tokenizer, self.cfg)
            self.on_policy.observe(row["dev/loss_nats"])
            row["dev/student_share"] = self.on_policy.share
        self.training.state.append("dev", row)
        score = row["dev/rouge_l"]
        if self.cfg.distill.handover == "best" and score > c.phase_rouge_l:
            c.phase_rouge_l = score
            self.training.state.snapshot()
        if score > c.best_rouge_l:
            c.best_rouge_l, c.best_phase, c.best_epoch = score, phase, epoch
            save_model(student, self.tokenizer, self.folder / "best")

    def end_phase(self, phase: int) -> None:
        if self.cfg.distill.handover == "best":
            self.training.state.restore_snapshot()
        save_model(self.training.state.model, self.tokenizer, self.folder / f"phase-{phase}")
        say(
            f"phase {phase + 1} of {self.cfg.num_phases} done, best dev ROUGE-L so far "
            f"{100 * self.training.state.counters.best_rouge_l:.2f}"
        )


def dev_rouge_l(
    student: Any, dev: list[tuple[Sample, Encoded]], tokenizer: PreTrainedTokenizerBase, cfg: Config
) -> float:
    """Mean ROUGE-L in [0, 1] of the student's answers to the dev prompts, decoded as in the evaluation."""
    rows, seeds = [row for _, row in dev], [cfg.evaluate.seeds[0]] * len(dev)
    answers = answer(student, rows, tokenizer, cfg.evaluate.generation, seeds, cfg.engine)
    scores = [rouge_l(given.text, sample.references) for given, (sample, _) in zip(answers, dev, strict=True)]
    return sum(scores) / len(scores)


def dev_loss(student: Any, dev: list[tuple[Sample, Encoded]], tokenizer: PreTrainedTokenizerBase, cfg: Config) -> float:
    """Mean over the dev samples of their references' NLL, nats per token."""
    losses = reference_nll(student, [row for _, row in dev], tokenizer, cfg.engine)
    return sum(losses) / len(losses)
