"""How weights are optimised."""

from dataclasses import dataclass
from typing import ClassVar

from srd.config.data import WARMUP
from srd.errors import MOST, require, require_seed, require_whole

MOST_EPOCHS = 100_000
"""Passes that no training makes: more is a slip."""


@dataclass
class Recipe:
    """How weights are optimised: AdamW, cosine to `learning_rate_end`, restarted in every phase."""

    epochs: int = 1
    """Passes over the samples of a phase."""
    batch_sequences: int = 16
    """Samples per optimiser step, exactly (the last step of an epoch takes what is left)."""
    learning_rate: float = 5e-4
    """Peak learning rate."""
    learning_rate_end: float = 1e-7
    """Learning rate at the last step of a phase."""
    warmup_share: float = 0.0
    """Share of a phase's steps over which the learning rate rises linearly from zero."""
    weight_decay: float = 0.01
    """AdamW weight decay of matrices; biases and norms have none."""
    clip_norm: float = 1.0
    """Largest global gradient norm."""
    seed: int = 10
    """Seed of data order, dropout, LoRA and random initial weights."""
    FEWEST_EPOCHS: ClassVar[int] = 0
    """Without any the weights are used as they are."""

    def check(self, key: str) -> None:
        require_whole(f"{key}.epochs", self.epochs, self.FEWEST_EPOCHS, MOST_EPOCHS)
        require_whole(f"{key}.batch_sequences", self.batch_sequences, 1, MOST)
        for name in ("learning_rate", "clip_norm"):
            require(getattr(self, name) > 0, f"{key}.{name}", getattr(self, name), "more than 0")
        for name in ("learning_rate_end", "weight_decay"):
            require(getattr(self, name) >= 0, f"{key}.{name}", getattr(self, name), "0 or more")
        require(0 <= self.warmup_share < 1, f"{key}.warmup_share", self.warmup_share, "a share in [0, 1)")
        require_seed(f"{key}.seed", self.seed)


@dataclass
class Finetune(Recipe):
    """Supervised fine-tuning before anything else."""

    epochs: int = 0
    """Passes over the samples; 0: the model is used as it is."""
    split: str = "train"
    """What it is fine-tuned on: train, or warmup: text that no other stage reads (`dataset.warmup_samples`), so that a
    student ranks rows that it has not seen."""

    def check(self, key: str) -> None:
        super().check(key)
        require(self.split in ("train", WARMUP), f"{key}.split", self.split, "train or warmup")

    @property
    def reads_warmup(self) -> bool:
        """Whether it trains on the split that is set aside for it."""
        return self.epochs > 0 and self.split == WARMUP


@dataclass
class Distill(Recipe):
    """The recipe of distillation, and how its result is chosen."""

    FEWEST_EPOCHS: ClassVar[int] = 1
    """Distillation without any is none."""
    dev_samples: int = 100
    """Dev samples answered after every epoch to choose the best weights by `select_by` (decoding of
    `evaluate.generation`, its first seed)."""
    handover: str = "last"
    """Weights that a phase hands to the next: last, or best (of the phase, by dev ROUGE-L)."""
    course: str = "restart"
    """restart: learning rate and AdamW moments begin anew in every phase; continue: one course over all phases."""

    select_by: str = "rouge_l"
    """What chooses the best weights, and heads the report: a key of `srd.metrics.METRICS`, of the dev answers, or nll:
    the dev loss on the references, for which no prompt is answered."""

    @property
    def answers_dev(self) -> bool:
        """Whether dev prompts are answered."""
        return self.select_by != "nll"

    def check(self, key: str) -> None:
        super().check(key)
        require_whole(f"{key}.dev_samples", self.dev_samples, 1, MOST)
        require(self.handover in ("last", "best"), f"{key}.handover", self.handover, "last or best")
        require(self.course in ("restart", "continue"), f"{key}.course", self.course, "restart or continue")
