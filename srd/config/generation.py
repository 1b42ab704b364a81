"""How answers are drawn, and what is answered: reflection and evaluation."""

from dataclasses import dataclass, field

from srd.config.data import Dataset
from srd.errors import look_up, require


@dataclass
class Generation:
    """How answers are drawn."""

    temperature: float = 1.0
    """Sampling temperature; 0 is greedy."""
    top_p: float = 1.0
    """Keep the smallest set of tokens with this probability."""
    top_k: int = 0
    """Keep this many tokens; 0 keeps all."""
    no_repeat_ngram_size: int = 0
    """Never repeat an n-gram of this size; 0 allows it."""
    max_new_tokens: int = 256
    """Longest answer."""

    def __post_init__(self) -> None:
        require(self.temperature >= 0, "temperature", self.temperature, "0 (greedy) or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "a probability in (0, 1]")
        require(self.top_k >= 0, "top_k", self.top_k, "0 (all) or more")
        require(self.no_repeat_ngram_size >= 0, "no_repeat_ngram_size", self.no_repeat_ngram_size, "0 (off) or more")
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")


@dataclass
class GenerationDefaults:
    """What every decoding of the run inherits, unless it sets its own (`conf/config.yaml` says so)."""

    max_new_tokens: int = 256
    """Longest answer."""

    def __post_init__(self) -> None:
        require(self.max_new_tokens >= 1, "generation.max_new_tokens", self.max_new_tokens, "at least 1")


@dataclass
class Reflect:
    """The student answers every training prompt."""

    generation: Generation = field(default_factory=lambda: Generation(temperature=0.0))
    """Decoding of the answers."""
    seed: int = 10
    """Seed of sampled answers."""

    def __post_init__(self) -> None:
        require(self.seed >= 0, "reflect.seed", self.seed, "0 or more")


@dataclass
class Evaluate:
    """What is scored, and how."""

    suites: dict[str, Dataset | None] = field(default_factory=dict)
    """Benchmark suites by name; one without a data set is the test split of `dataset`."""
    path: str | None = None
    """Folder that holds a folder for each suite; a suite's own path wins."""
    generation: Generation = field(default_factory=Generation)
    """Decoding of the answers."""
    seeds: list[int] = field(default_factory=lambda: [10, 20, 30, 40, 50])
    """Sampling seeds; greedy decoding uses the first only."""
    targets: list[str] = field(default_factory=lambda: ["teacher", "student", "distill"])
    """Checkpoints to score: teacher, student (before distillation), distill."""
    checkpoint: str = "best"
    """Distilled weights to score: best (by dev ROUGE-L, of all phases) or last (as the last phase left them: with
    `distill.handover: best` those are its best)."""

    def __post_init__(self) -> None:
        require(
            len(self.seeds) == len(set(self.seeds)) > 0, "evaluate.seeds", self.seeds, "one or more different seeds"
        )
        require(min(self.seeds) >= 0, "evaluate.seeds", self.seeds, "seeds of 0 or more")
        require(len(self.targets) > 0, "evaluate.targets", self.targets, "one or more of teacher, student, distill")
        for target in self.targets:
            look_up(dict.fromkeys(("teacher", "student", "distill")), target, "evaluate.targets entry")
        require(self.checkpoint in ("best", "last"), "evaluate.checkpoint", self.checkpoint, "best or last")
