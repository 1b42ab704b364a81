"""The distillation loss: method, student data, schedules."""

from dataclasses import dataclass, field

from srd.config.data import Corpus
from srd.config.generation import Generation
from srd.errors import MOST, MOST_TOKENS, require, require_seed, require_whole


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

    def check(self, key: str) -> None:
        self.temperature.validate(f"{key}.temperature", 1e-3, 1e3, "a temperature in [0.001, 1000]")
        self.sft_weight.validate(f"{key}.sft_weight", 0, 1, "a weight in [0, 1]")


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
    prompt_tokens: int | None = None
    """Tokens at the beginning of a window of text that the student continues, as SE-KD cuts documents (arXiv
    2602.01395); none: the samples have prompts."""
    generation: Generation = field(default_factory=Generation)
    """Decoding of the responses."""

    def check(self, key: str) -> None:
        require(0 <= self.share <= 1, f"{key}.share", self.share, "a probability in [0, 1]")
        require(0 < self.share_step <= 1, f"{key}.share_step", self.share_step, "a step in (0, 1]")
        require(self.loss_margin >= 0, f"{key}.loss_margin", self.loss_margin, "0 nats or more")
        require_whole(f"{key}.replay_capacity", self.replay_capacity, 0, MOST, "off")
        require_whole(f"{key}.every_steps", self.every_steps, 1, MOST)
        if self.prompt_tokens is not None:
            require_whole(f"{key}.prompt_tokens", self.prompt_tokens, 1, MOST_TOKENS)
        choices = ("constant", "decreasing", "increasing")
        require(self.fresh in choices, f"{key}.fresh", self.fresh, ", ".join(choices))


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

    def check(self, key: str) -> None:
        require(
            self.temperature_power in ("official", "0", "2"),
            f"{key}.temperature_power",
            self.temperature_power,
            "official, 0 or 2",
        )
        require(
            self.responses in ("references", "teacher"), f"{key}.responses", self.responses, "references or teacher"
        )
        require_seed(f"{key}.answers_seed", self.answers_seed)
        if self.is_on_policy:
            require(
                self.divergence is not None,
                f"{key}.divergence",
                "null",
                "a divergence: the student's own responses teach it nothing without one",
            )
