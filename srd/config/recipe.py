"""How weights are optimised."""

from dataclasses import dataclass

from srd.errors import require


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

    def __post_init__(self) -> None:
        require(self.epochs >= 0, "epochs", self.epochs, "0 or more")
        require(self.batch_sequences >= 1, "batch_sequences", self.batch_sequences, "at least 1")
        for key in ("learning_rate", "clip_norm"):
            require(getattr(self, key) > 0, key, getattr(self, key), "more than 0")
        require(0 <= self.warmup_share < 1, "warmup_share", self.warmup_share, "a share in [0, 1)")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(self.seed >= 0, "seed", self.seed, "0 or more")


@dataclass
class Finetune(Recipe):
    """Supervised fine-tuning before anything else."""

    epochs: int = 0
    """Passes over the training samples; 0: the model is used as it is."""


@dataclass
class Distill(Recipe):
    """The recipe of distillation, and how its result is chosen."""

    dev_samples: int = 100
    """Dev samples answered after every epoch to choose the best weights by `select_by` (decoding of
    `evaluate.generation`, its first seed)."""
    handover: str = "last"
    """Weights that a phase hands to the next: last, or best (of the phase, by dev ROUGE-L)."""
    course: str = "restart"
    """restart: learning rate and AdamW moments begin anew in every phase; continue: one course over all phases."""

    select_by: str = "rouge_l"
    """Metric that chooses the best weights by the dev answers, and heads the report: a key of
    `srd.metrics.METRICS`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("epochs", "dev_samples"):
            require(getattr(self, key) >= 1, f"distill.{key}", getattr(self, key), "at least 1")
        require(self.handover in ("last", "best"), "distill.handover", self.handover, "last or best")
        require(self.course in ("restart", "continue"), "distill.course", self.course, "restart or continue")
