"""The distillation loss: method, student data, schedules."""

from dataclasses import dataclass, field

from srd.config.data import Corpus
from srd.config.generation import Generation
from srd.errors import require


@dataclass
class Ramp:
    """How one loss setting runs through training."""

    start: float | None = None
    """Value in the first phase (`by: phase`) or at the first step (`by: step`)."""
    end: float | None = None
    """Value in the last phase, or at the last step."""
    by: str = "phase"
    """phase: linear over the phases, constant inside each; step: linear over all steps; constant: the start, or the
    first of `values`, throughout."""
    values: list[float] | None = None
    """One value a phase; start and end are then not read."""

    def validate(self, key: str, low: float, high: float, expected: str) -> None:
        """A `UserError` unless it is a line or a list, and every value is in [low, high]."""
        require(self.by in ("phase", "step", "constant"), f"{key}.by", self.by, "phase, step or constant")
        require(self.values is None or self.by != "step", f"{key}.by", self.by, f"phase or constant with {key}.values")
        for name in ("start", "end"):
            value = getattr(self, name)
            require(value is not None or self.values is not None, f"{key}.{name}", "null", f"a number, or {key}.values")
            require(value is None or low <= value <= high, f"{key}.{name}", value, expected)
        for value in self.values or []:
            require(low <= value <= high, f"{key}.values", self.values, expected)

    @property
    def line(self) -> tuple[float, float]:
        """Start and end of one that is no list."""
        assert self.start is not None
        assert self.end is not None
        return self.start, self.end


@dataclass
class Schedule:
    """Loss settings through training; either can be held constant by itself."""

    name: str = "srd"
    """Name in tables."""
    temperature: Ramp = field(default_factory=lambda: Ramp(1.0, 2.0))
    """τ, which divides the logits of both models in the divergence."""
    sft_weight: Ramp = field(default_factory=lambda: Ramp(0.3, 0.1))
    """α, weight of the cross-entropy with the reference; 1-α is the divergence's."""

    def __post_init__(self) -> None:
        self.temperature.validate("schedule.temperature", 1e-3, 1e3, "more than 0")
        self.sft_weight.validate("schedule.sft_weight", 0, 1, "a weight in [0, 1]")


@dataclass
class StudentData:
    """Responses that the student writes while it learns, in place of references."""

    share: float = 0.0
    """Probability that a step trains on the student's responses (GKD's λ); of `adaptive`, where it begins."""
    adaptive: bool = False
    """Raise the share by `share_step` whenever the dev loss has grown by `loss_margin` since the last raise
    (DistiLLM)."""
    share_step: float = 0.1
    """By how much."""
    loss_margin: float = 0.1
    """Growth of the dev loss, nats per token, that raises the share."""
    replay_capacity: int = 0
    """Responses kept to be trained on again; 0: each is used once, in the step it was written for."""
    fresh: str = "constant"
    """Share of the student's steps that write anew, the others replay: constant (half), decreasing or increasing over
    the steps."""
    every_steps: int = 4
    """Steps whose responses are written together, with the weights at the first of them."""
    generation: Generation = field(default_factory=Generation)
    """Decoding of the responses."""

    def __post_init__(self) -> None:
        require(0 <= self.share <= 1, "method.student_data.share", self.share, "a probability in [0, 1]")
        require(0 < self.share_step <= 1, "method.student_data.share_step", self.share_step, "a step in (0, 1]")
        require(self.loss_margin >= 0, "method.student_data.loss_margin", self.loss_margin, "0 nats or more")
        require(
            self.replay_capacity >= 0, "method.student_data.replay_capacity", self.replay_capacity, "0 (off) or more"
        )
        require(self.every_steps >= 1, "method.student_data.every_steps", self.every_steps, "at least 1")
        choices = ("constant", "decreasing", "increasing")
        require(self.fresh in choices, "method.student_data.fresh", self.fresh, ", ".join(choices))


@dataclass
class Method:
    """The distillation loss, and whose responses it is taken on."""

    name: str = "fkl"
    """Name in tables."""
    divergence: str | None = "forward_kl"
    """A key of `srd.divergences.DIVERGENCES`; none trains on the responses alone."""
    parameters: dict[str, float] = field(default_factory=dict)
    """Parameters of the divergence, such as beta or alpha."""
    temperature_power: str = "official"
    """k of the factor τ^k before the divergence: 0, 2, or official (what SRD's published code does for this
    divergence)."""
    responses: str = "references"
    """Responses of the samples: references, or teacher (the teacher answers every prompt first: SeqKD)."""
    answers: Generation = field(default_factory=Generation)
    """Decoding of the teacher's answers."""
    answers_seed: int = 10
    """Seed of the teacher's answers where they are sampled."""
    student_data: StudentData = field(default_factory=StudentData)
    """Responses by the student."""
    corpus: Corpus = field(default_factory=Corpus)
    """Auxiliary text."""

    @property
    def is_on_policy(self) -> bool:
        """Whether the student writes some of the responses."""
        return self.student_data.share > 0 or self.student_data.adaptive

    def __post_init__(self) -> None:
        require(
            self.temperature_power in ("official", "0", "2"),
            "method.temperature_power",
            self.temperature_power,
            "official, 0 or 2",
        )
        require(
            self.responses in ("references", "teacher"), "method.responses", self.responses, "references or teacher"
        )
        require(self.answers_seed >= 0, "method.answers_seed", self.answers_seed, "0 or more")
        if self.is_on_policy:
            require(
                self.divergence is not None,
                "method.divergence",
                "null",
                "a divergence: the student's own responses teach it nothing without one",
            )
