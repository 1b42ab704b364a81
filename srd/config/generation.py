"""How answers are drawn, and what is answered: reflection and evaluation."""

import re
from dataclasses import dataclass, field

from srd.config.code import Code
from srd.config.data import Dataset
from srd.config.models import Pair
from srd.errors import MOST, MOST_TOKENS, UserError, look_up, require, require_seed, require_whole

MOST_ANSWERS = 1000
"""Answers to a prompt that nobody samples: more is a slip."""


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

    def check(self, key: str) -> None:
        require(self.temperature >= 0, f"{key}.temperature", self.temperature, "0 (greedy) or more")
        require(0 < self.top_p <= 1, f"{key}.top_p", self.top_p, "a probability in (0, 1]")
        require_whole(f"{key}.top_k", self.top_k, 0, MOST, "all")
        require_whole(f"{key}.no_repeat_ngram_size", self.no_repeat_ngram_size, 0, MOST_TOKENS, "off")
        require_whole(f"{key}.max_new_tokens", self.max_new_tokens, 1, MOST_TOKENS)


@dataclass
class GenerationDefaults:
    """What every decoding of the run inherits, unless it sets its own (`conf/config.yaml` says so)."""

    max_new_tokens: int = 256
    """Longest answer."""

    def check(self, key: str) -> None:
        require_whole(f"{key}.max_new_tokens", self.max_new_tokens, 1, MOST_TOKENS)


@dataclass
class Reflect:
    """The student answers every training prompt."""

    generation: Generation = field(default_factory=lambda: Generation(temperature=0.0))
    """Decoding of the answers."""
    seed: int = 10
    """Seed of sampled answers."""
    answers: int = 1
    """Answers to every prompt, each drawn from a stream of its own; signals of answers are means over them."""

    def check(self, key: str) -> None:
        require_seed(f"{key}.seed", self.seed)
        require_whole(f"{key}.answers", self.answers, 1, MOST_ANSWERS)
        if self.answers > 1 and self.generation.temperature == 0:
            raise UserError(
                f"{key}.answers={self.answers}: greedy answers are all the same; set {key}.generation.temperature=1 or "
                f"{key}.answers=1"
            )


@dataclass
class Harness:
    """The standard suites, asked by lm-eval: a program with packages of its own (`srd harness`)."""

    program: str = "lm_eval"
    """Its command, or where it lies: `make lm-eval` puts it into .lm-eval/bin/lm_eval."""
    tasks: list[str] = field(
        default_factory=lambda: ["hellaswag", "piqa", "arc_easy", "lambada_openai", "gsm8k", "ifeval"]
    )
    """Its names of tasks or groups of tasks."""
    include_path: str | None = None
    """Folder with tasks of your own, as it reads them; its content, not its place, is in the fingerprint."""
    shots: int | None = None
    """Examples before each question; none: as many as the task says."""
    limit: int | None = None
    """The first so many questions of each task; none: all."""

    def check(self, key: str) -> None:
        named = all(re.fullmatch(r"[^\s,]+", task) for task in self.tasks)
        expected = "one or more different names without spaces and commas"
        require(named and len(self.tasks) == len(set(self.tasks)) > 0, f"{key}.tasks", self.tasks, expected)
        require(self.program.strip() != "", f"{key}.program", "''", "a command, or the key left away")
        for name, least in (("shots", 0), ("limit", 1)):
            value = getattr(self, name)
            require(value is None or least <= value <= MOST, f"{key}.{name}", value, f"{least} to {MOST}, or null")


@dataclass(frozen=True)
class Harnessed:
    """What the stage that asks the standard suites may know besides its settings."""

    pair: Pair
    """Where the weights lie."""
    harness: Harness
    """Where the program and the tasks lie."""


@dataclass
class EncoderModel:
    """The model that `bert_score` reads answers and references with."""

    name: str | None = None
    """Local folder or name on the hub."""
    revision: str | None = None
    """Commit on the hub; required for a hub name."""
    layer: int = 9
    """Its layer whose states are compared, 0 for the embeddings. bert-score takes 9 of bert-base-uncased, 17 of
    roberta-large, 18 of bert-large-uncased."""

    def check(self, key: str) -> None:
        require_whole(f"{key}.layer", self.layer, 0, 1000)


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
    metrics: list[str] = field(default_factory=lambda: ["rouge_l", "exact_match"])
    """Scores of an answer, keys of `srd.metrics.METRICS`."""
    pass_at: list[int] = field(default_factory=list)
    """pass@k for these k in the report, of every metric that says whether an answer is right; at most as many as there
    are answers to a prompt, one a seed."""
    encoder: EncoderModel = field(default_factory=EncoderModel)
    """What `bert_score` reads with."""
    allow_code: bool = False
    """Whether the code that models write may be executed; a metric that does is refused otherwise."""
    code: Code = field(default_factory=Code)
    """Where it is executed, and the limits of it."""
    likelihood: bool = False
    """Perplexity and calibration on the test rows as well; a suite of text without prompts has nothing else."""
    harness: Harness = field(default_factory=Harness)
    """The standard suites, for `srd harness`."""

    def check(self, key: str) -> None:
        require(len(self.seeds) == len(set(self.seeds)) > 0, f"{key}.seeds", self.seeds, "one or more different seeds")
        for seed in self.seeds:
            require_seed(f"{key}.seeds", seed)
        expected = "one or more of teacher, student, distill, each once"
        require(len(self.targets) == len(set(self.targets)) > 0, f"{key}.targets", self.targets, expected)
        for target in self.targets:
            look_up(dict.fromkeys(("teacher", "student", "distill")), target, f"{key}.targets entry")
        require(self.checkpoint in ("best", "last"), f"{key}.checkpoint", self.checkpoint, "best or last")
        answers = len(self.seeds) if self.generation.temperature > 0 else 1
        expected = f"different numbers from 1 to {answers}, the answers to a prompt (evaluate.seeds"
        expected += ")" if self.generation.temperature > 0 else "; greedy decoding gives one)"
        fits = all(1 <= k <= answers for k in self.pass_at) and len(self.pass_at) == len(set(self.pass_at))
        require(fits, f"{key}.pass_at", self.pass_at, expected)
