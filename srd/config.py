"""Every setting of `srd`: a dataclass a section, a doc line a field with its unit, checks beside them.

`conf/` holds the values; Hydra merges them into these types, so an unknown key or a wrong type
stops before any work. Ranges are checked on construction, relations between sections in `Config.check`.
"""

from dataclasses import dataclass, field
from typing import Any

from srd.errors import UserError, look_up


def require(holds: bool, key: str, value: object, expected: str) -> None:
    """A `UserError` naming the key, its value and what was expected, unless `holds`."""
    if not holds:
        raise UserError(f"{key}={value}: expected {expected}")


@dataclass
class Columns:
    """Names of a foreign data set's columns."""

    instruction: str = "instruction"
    """Column of the instruction."""
    input: str = "input"
    """Column of the optional input; a data set without it has none."""
    output: str = "output"
    """Column of the response, a string or a list of references."""


@dataclass
class Dataset:
    """Where samples come from and how they are split."""

    name: str = "pydoc"
    """Loader, a key of `srd.datasets.DATASETS`."""
    path: str | None = None
    """Local file or folder; takes precedence over the hub and stays out of the fingerprint (the content is in it)."""
    hub: str | None = None
    """Name on the Hugging Face hub."""
    revision: str | None = None
    """Commit of the hub data set; required where `hub` is used."""
    columns: Columns = field(default_factory=Columns)
    """Column names, for loaders `jsonl` and `hub`."""
    limit: int | None = None
    """At most this many training samples, chosen by id."""
    dev_samples: int | None = None
    """At most this many dev samples, taken from the training split where the source has no dev split; none: all that
    the source has."""
    test_samples: int | None = None
    """At most this many test samples, taken from the training split where the source has no test split; none: all that
    the source has."""
    corrupt: float = 0.0
    """Share of the training samples that get another sample's response, chosen by id and `corrupt_seed`: noise whose
    place is known. Fine-tuning of teacher and student sees it too."""
    corrupt_seed: int = 10
    """Seed of that choice."""
    strict: bool = False
    """Stop at a row with an empty response or at a duplicate, instead of counting and skipping it."""

    def __post_init__(self) -> None:
        for key in ("limit", "dev_samples", "test_samples"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"dataset.{key}", value, "at least 1")
        require(0 <= self.corrupt < 1, "dataset.corrupt", self.corrupt, "a share in [0, 1)")
        require(self.corrupt_seed >= 0, "dataset.corrupt_seed", self.corrupt_seed, "0 or more")


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
class Lora:
    """Low-rank adapters in place of full fine-tuning."""

    rank: int = 0
    """Rank of the update; 0: all weights are trained."""
    alpha: int = 64
    """Scale of the update, divided by the rank."""
    dropout: float = 0.1
    """Dropout on the adapter's input."""
    merge: bool = True
    """Leave the best distilled weights as a whole model with the adapter folded in; false leaves the adapter alone."""

    def __post_init__(self) -> None:
        require(self.rank >= 0, "lora.rank", self.rank, "0 (off) or more")
        require(self.alpha > 0, "lora.alpha", self.alpha, "more than 0")
        require(0 <= self.dropout < 1, "lora.dropout", self.dropout, "a probability in [0, 1)")


@dataclass
class Side:
    """One of the two models."""

    name: str | None = None
    """Hub name or local folder of the weights."""
    revision: str | None = None
    """Commit of the hub repository."""
    package: str | None = None
    """Installed Python package that carries `gguf_file`."""
    gguf_file: str | None = None
    """GGUF file with the weights."""
    architecture: dict[str, Any] | None = None
    """Random initial weights: `model_type` and fields of its transformers config."""
    layers: list[int] | None = None
    """Keep these layers of the named weights only."""
    adapter: str | None = None
    """Hub name or folder of a LoRA adapter merged into the weights."""
    lora: Lora = field(default_factory=Lora)
    """Train adapters in place of the weights."""
    dtype: str = "float32"
    """Type of the weights in memory: float32, bfloat16 or float16."""
    trust_remote_code: bool = False
    """Run model code that the hub repository ships."""
    finetune: Finetune = field(default_factory=Finetune)
    """Supervised fine-tuning of the teacher, or the student's warm start before it reflects."""

    def __post_init__(self) -> None:
        given = [key for key in ("name", "package", "architecture") if getattr(self, key) is not None]
        if len(given) != 1:
            raise UserError(
                f"model: a side has {' and '.join(given) or 'no weights'}; expected exactly one of name (hub or "
                "folder), "
                "package and architecture, as in model.teacher.name=… model.student.name=…"
            )
        if self.architecture is not None:
            for key in ("revision", "gguf_file", "layers", "adapter"):
                require(
                    getattr(self, key) is None, key, getattr(self, key), "nothing beside architecture (random weights)"
                )
        require(
            (self.package is None) or self.gguf_file is not None,
            "gguf_file",
            self.gguf_file,
            "a file inside the package",
        )
        require(self.dtype in ("float32", "bfloat16", "float16"), "dtype", self.dtype, "float32, bfloat16 or float16")


@dataclass
class Model:
    """A teacher and a student over one vocabulary."""

    teacher: Side
    """p: the model that is imitated."""
    student: Side
    """q: the model that is trained."""
    name: str = "pair"
    """Name of the pair in tables."""
    vocabulary: int | None = None
    """Train a byte-level BPE of this size on the training split; none: the tokenizer of the weights."""
    template: str = "alpaca"
    """Prompt template, a key of `srd.prompts.TEMPLATES`."""
    max_prompt_tokens: int = 256
    """Longest prompt; of a longer one the tail is kept."""
    max_tokens: int = 512
    """Longest prompt and response together; a longer response is cut, its EOS with it."""

    def side(self, role: str) -> Side:
        return self.teacher if role == "teacher" else self.student

    def __post_init__(self) -> None:
        require(self.vocabulary is None or self.vocabulary >= 300, "model.vocabulary", self.vocabulary, "at least 300")
        require(
            1 <= self.max_prompt_tokens < self.max_tokens,
            "model.max_prompt_tokens",
            self.max_prompt_tokens,
            f"1 … max_tokens-1 ({self.max_tokens - 1})",
        )


@dataclass
class Teacher:
    """How the teacher's distribution reaches the loss."""

    signal: str = "auto"
    """hidden: last hidden states on disk, made once and shared by all arms; online: a forward pass for every batch;
    auto: hidden where it fits `disk_gb` and the student writes no responses."""
    dtype: str | None = None
    """Type of the stored states: float32, bfloat16 or float16; none: that of the teacher's weights, which loses
    nothing."""
    disk_gb: float = 50.0
    """Largest cache that `auto` makes, 10^9 bytes."""

    def __post_init__(self) -> None:
        require(self.signal in ("auto", "hidden", "online"), "teacher.signal", self.signal, "auto, hidden or online")
        require(
            self.dtype in (None, "float32", "bfloat16", "float16"),
            "teacher.dtype",
            self.dtype,
            "float32, bfloat16, float16 or null",
        )
        require(self.disk_gb >= 0, "teacher.disk_gb", self.disk_gb, "0 or more")


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
class Reflect:
    """The student answers every training prompt."""

    generation: Generation = field(default_factory=lambda: Generation(temperature=0.0))
    """Decoding of the answers."""
    seed: int = 10
    """Seed of sampled answers."""

    def __post_init__(self) -> None:
        require(self.seed >= 0, "reflect.seed", self.seed, "0 or more")


@dataclass
class Rank:
    """Difficulty from the student's signals."""

    signals: list[str] = field(default_factory=lambda: ["rouge_l", "nll"])
    """Keys of `srd.ranking.SIGNALS`, fused by reciprocal rank fusion."""
    rrf_k: float = 60.0
    """The constant k of 1 / (k + rank)."""
    seed: int = 10
    """Seed of the signal `random`."""

    def __post_init__(self) -> None:
        require(
            len(self.signals) == len(set(self.signals)) > 0,
            "rank.signals",
            self.signals,
            "one or more different signals",
        )
        require(self.rrf_k >= 0, "rank.rrf_k", self.rrf_k, "0 or more")
        require(self.seed >= 0, "rank.seed", self.seed, "0 or more")


@dataclass
class Filter:
    """The hardest samples are dropped."""

    keep: float = 0.75
    """λ: share of the training samples that stay, easiest first."""
    by: str = "rank"
    """What decides who stays: rank (the fused order), one signal alone, or random (as many, by chance: the fair
    control)."""
    seed: int = 10
    """Seed of `by: random`."""

    def __post_init__(self) -> None:
        require(0 < self.keep <= 1, "filter.keep", self.keep, "a share in (0, 1]")
        require(self.seed >= 0, "filter.seed", self.seed, "0 or more")


@dataclass
class Curriculum:
    """Which samples each phase sees, and in which order."""

    name: str = "baby_step"
    """A key of `srd.schedules.CURRICULA`."""
    phases: int = 3
    """Number of phases n."""
    sizes: list[float] | None = None
    """Share of the selection in each of the n subsets, adding up to 1; none: equal subsets."""
    replay: float = 0.25
    """Share of the earlier subsets' samples that a phase of `mixed` sees again."""
    order: str = "shuffled"
    """Order inside an epoch: shuffled (by distill.seed) or kept (as ranked, the same in every epoch)."""
    seed: int = 10
    """Seed of `random_order` and of what `mixed` sees again."""

    def __post_init__(self) -> None:
        require(self.phases >= 1, "curriculum.phases", self.phases, "at least 1")
        require(
            self.sizes is None
            or (len(self.sizes) == self.phases and min(self.sizes) > 0 and abs(sum(self.sizes) - 1) < 1e-6),
            "curriculum.sizes",
            self.sizes,
            f"curriculum.phases={self.phases} shares above 0 that add up to 1",
        )
        require(0 <= self.replay <= 1, "curriculum.replay", self.replay, "a share in [0, 1]")
        require(self.order in ("shuffled", "kept"), "curriculum.order", self.order, "shuffled or kept")
        require(self.seed >= 0, "curriculum.seed", self.seed, "0 or more")


@dataclass
class Course:
    """How one loss setting runs through training."""

    start: float
    """Value in the first phase (`by: phase`) or at the first step (`by: step`)."""
    end: float
    """Value in the last phase, or at the last step."""
    by: str = "phase"
    """phase: linear over the phases, constant inside each; step: linear over all steps; constant: the start
    throughout."""
    values: list[float] | None = None
    """One value a phase, in place of a line from start to end."""

    def check(self, key: str, low: float, high: float, expected: str) -> None:
        """A `UserError` unless every value is in [low, high]."""
        require(self.by in ("phase", "step", "constant"), f"{key}.by", self.by, "phase, step or constant")
        require(self.values is None or self.by == "phase", f"{key}.by", self.by, f"phase beside {key}.values")
        for name in ("start", "end"):
            require(low <= getattr(self, name) <= high, f"{key}.{name}", getattr(self, name), expected)
        for value in self.values or []:
            require(low <= value <= high, f"{key}.values", self.values, expected)


@dataclass
class Schedule:
    """Loss settings through training; either can be held constant by itself."""

    name: str = "srd"
    """Name in tables."""
    temperature: Course = field(default_factory=lambda: Course(1.0, 2.0))
    """τ, which divides the logits of both models in the divergence."""
    sft_weight: Course = field(default_factory=lambda: Course(0.3, 0.1))
    """α, weight of the cross-entropy with the reference; 1-α is the divergence's."""

    def __post_init__(self) -> None:
        self.temperature.check("schedule.temperature", 1e-3, 1e3, "more than 0")
        self.sft_weight.check("schedule.sft_weight", 0, 1, "a weight in [0, 1]")


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
class Corpus:
    """Plain text for a language-modelling loss beside distillation (DistiLLM, MiniLLM)."""

    path: str | None = None
    """JSON Lines file (gzip too) with a column `text`; none: no such loss. Its content, not its place, is in the
    fingerprint."""
    weight: float = 1.0
    """Weight of the mean cross-entropy of its tokens."""
    batch_sequences: int = 8
    """Texts a step."""

    def __post_init__(self) -> None:
        require(self.weight > 0, "method.corpus.weight", self.weight, "more than 0")
        require(self.batch_sequences >= 1, "method.corpus.batch_sequences", self.batch_sequences, "at least 1")


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
    def power(self) -> int:
        """k of τ^k as a number."""
        from srd.divergences import power_of

        return power_of(str(self.divergence), self.temperature_power)

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


@dataclass
class Distill(Recipe):
    """The recipe of distillation, and how its result is chosen."""

    dev_samples: int = 100
    """Dev samples answered after every epoch to choose the best weights (decoding of `evaluate.generation`, its first
    seed)."""
    handover: str = "last"
    """Weights that a phase hands to the next: last, or best (of the phase, by dev ROUGE-L)."""
    course: str = "restart"
    """restart: learning rate and AdamW moments begin anew in every phase; continue: one course over all phases."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("epochs", "dev_samples"):
            require(getattr(self, key) >= 1, f"distill.{key}", getattr(self, key), "at least 1")
        require(self.handover in ("last", "best"), "distill.handover", self.handover, "last or best")
        require(self.course in ("restart", "continue"), "distill.course", self.course, "restart or continue")


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


@dataclass
class Engine:
    """How it is computed; never what. Outside every fingerprint, recorded in every manifest.

    Results agree across engines to float tolerance, but for dropout (GPT-2, LoRA), whose draws depend
    on how a step is cut into micro-batches.
    """

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = "float32"
    """Autocast of the forward passes: float32 (off) or bfloat16."""
    micro_batch_tokens: int = 4096
    """Largest padded size of one forward pass in training and scoring."""
    loss_positions: int = 512
    """Positions whose logits exist at once in the loss; beyond that they are computed in turn."""
    compile: bool = False
    """The loss compiled (torch.compile): fewer passes over the logits, for half a minute at the first step; needs a C++
    compiler."""
    generation_sequences: int = 64
    """Prompts answered together."""
    generation_backend: str = "transformers"
    """Who answers in reflection, evaluation and for the teacher: transformers (this process), or vllm (a GPU, its own
    sampling)."""
    gradient_checkpointing: bool = False
    """Compute a layer's activations again for the gradient instead of keeping them: less memory, a third more
    arithmetic."""
    save_steps: int = 50
    """Optimiser steps between two saved training states."""
    processes: int = 1
    """Processes of this machine that share every stage with a model: one a GPU, or several on the processor."""
    threads: int | None = None
    """CPU threads of a process; none: all cores, shared out among the processes."""

    def __post_init__(self) -> None:
        require(self.precision in ("float32", "bfloat16"), "engine.precision", self.precision, "float32 or bfloat16")
        for key in ("micro_batch_tokens", "loss_positions", "generation_sequences", "save_steps", "processes"):
            require(getattr(self, key) >= 1, f"engine.{key}", getattr(self, key), "at least 1")
        choices = ("transformers", "vllm")
        require(
            self.generation_backend in choices,
            "engine.generation_backend",
            self.generation_backend,
            " or ".join(choices),
        )
        require(self.threads is None or self.threads >= 1, "engine.threads", self.threads, "at least 1")
        if self.processes > 1:
            kinds = ("auto", "cpu", "cuda")
            require(
                self.device in kinds,
                "engine.device",
                self.device,
                f"auto, cpu or cuda beside engine.processes={self.processes}",
            )
            backend = f"transformers beside engine.processes={self.processes}"
            require(
                self.generation_backend == "transformers", "engine.generation_backend", self.generation_backend, backend
            )


DEFAULT_ENGINE = Engine()


@dataclass
class Plan:
    """What `srd plan` reckons with where the data or the machine are not at hand."""

    gpu: str | None = None
    """A key of `srd.plan.GPUS`; none: this machine, its speed measured."""
    memory_gb: float | None = None
    """Memory to fit into, 10^9 bytes; none: all that the device has."""
    samples: int | None = None
    """Training samples; none: as many as the samples artefact has."""
    test_samples: int | None = None
    """Test samples of a suite; none: as many as its samples artefact has."""
    prompt_tokens: float | None = None
    """Mean length of a prompt with its template; none: measured on the samples."""
    response_tokens: float | None = None
    """Mean length of a reference with its EOS; none: measured on the samples."""
    answer_tokens: float | None = None
    """Mean length of an answer; none: as long as a reference."""
    utilisation: float = 0.35
    """Share of the device's matrix speed that training reaches."""

    def __post_init__(self) -> None:
        for key in ("memory_gb", "samples", "test_samples", "prompt_tokens", "response_tokens", "answer_tokens"):
            value = getattr(self, key)
            require(value is None or value > 0, f"plan.{key}", value, "more than 0")
        require(0 < self.utilisation <= 1, "plan.utilisation", self.utilisation, "a share in (0, 1]")


@dataclass
class Logger:
    """Where scalars go besides `metrics.jsonl`."""

    name: str = "none"
    """A key of `srd.loggers.LOGGERS`."""
    project: str = "srd"
    """W&B project."""
    mode: str = "offline"
    """W&B mode: offline or online."""

    def __post_init__(self) -> None:
        require(self.mode in ("offline", "online"), "logger.mode", self.mode, "offline or online")


@dataclass
class Config:
    """The whole experiment."""

    model: Model
    dataset: Dataset = field(default_factory=Dataset)
    reflect: Reflect = field(default_factory=Reflect)
    rank: Rank = field(default_factory=Rank)
    filter: Filter = field(default_factory=Filter)
    curriculum: Curriculum = field(default_factory=Curriculum)
    schedule: Schedule = field(default_factory=Schedule)
    method: Method = field(default_factory=Method)
    teacher: Teacher = field(default_factory=Teacher)
    distill: Distill = field(default_factory=Distill)
    evaluate: Evaluate = field(default_factory=Evaluate)
    engine: Engine = field(default_factory=Engine)
    plan: Plan = field(default_factory=Plan)
    logger: Logger = field(default_factory=Logger)
    study: str = "default"
    """Name of the study that `srd run` files this run under and `srd report` reads."""
    arm: str | None = None
    """Name of this run's row in the report; none: method, curriculum and kept share."""
    versus: list[str] = field(default_factory=list)
    """Arms of the study that this one is compared with, paired; none: the plain arm of the same method."""
    published: str | None = None
    """Row of a published table that the report prints beside this one, as TABLE/ROW of `srd/published.json`."""
    role: str = "teacher"
    """Whom `srd finetune` trains: teacher or student."""
    outputs: str = "outputs"
    """Folder of all artefacts."""

    @property
    def is_curated(self) -> bool:
        """Whether something is dropped or ordered."""
        return self.filter.keep < 1 or self.num_phases > 1 or self.curriculum.order == "kept"

    @property
    def is_ordered(self) -> bool:
        """Whether the order of the samples that stay matters."""
        shuffles = self.num_phases > 1 and self.curriculum.name == "random_order"
        return not shuffles and (self.num_phases > 1 or self.curriculum.order == "kept")

    @property
    def needs_live_teacher(self) -> bool:
        """Whether the teacher must read texts that are not the samples' own, or brings code of its own around its
        head."""
        return self.method.is_on_policy or self.method.responses == "teacher" or self.model.teacher.trust_remote_code

    @property
    def caches_teacher(self) -> bool:
        """Whether distillation reads the teacher from disk; `auto` has been settled before, or means the disk."""
        return self.method.divergence is not None and self.teacher.signal != "online" and not self.needs_live_teacher

    @property
    def num_phases(self) -> int:
        return 1 if self.curriculum.name == "none" else self.curriculum.phases

    @property
    def arm_name(self) -> str:
        curated = f"+{self.curriculum.name}-{self.num_phases}, keep {self.filter.keep:g}" if self.is_curated else ""
        return self.arm or self.method.name + curated

    def check(self) -> "Config":
        """Relations between sections and names that only tables know; returns itself."""
        from srd.datasets import DATASETS
        from srd.divergences import check_parameters
        from srd.loggers import LOGGERS
        from srd.prompts import TEMPLATES
        from srd.ranking import SIGNALS
        from srd.schedules import CURRICULA, plan

        look_up(dict.fromkeys(("teacher", "student")), self.role, "role")
        look_up(DATASETS, self.dataset.name, "dataset.name")
        require(len(self.evaluate.suites) > 0, "evaluate.suites", self.evaluate.suites, "at least one suite")
        for suite in self.evaluate.suites.values():
            look_up(DATASETS, suite.name if suite else self.dataset.name, "evaluate.suites.*.name")
        look_up(LOGGERS, self.logger.name, "logger.name")
        look_up(TEMPLATES, self.model.template, "model.template")
        look_up(CURRICULA, self.curriculum.name, "curriculum.name")
        for signal in self.rank.signals:
            look_up(dict.fromkeys(SIGNALS), signal, "ranking signal")
        look_up(dict.fromkeys(("rank", *SIGNALS)), self.filter.by, "filter.by")
        plan(self.schedule, self.num_phases)
        if self.teacher.signal == "hidden" and self.needs_live_teacher:
            raise UserError(
                f"teacher.signal=hidden: method={self.method.name} trains on other responses than the samples', or the "
                "teacher runs "
                "code of its own; use teacher.signal=online"
            )
        decodings = {
            "reflect": self.reflect.generation,
            "evaluate": self.evaluate.generation,
            "method.answers": self.method.answers,
        }
        for key, decoding in decodings.items() if self.engine.generation_backend == "vllm" else ():
            if decoding.no_repeat_ngram_size > 0:
                raise UserError(
                    f"{key}: no_repeat_ngram_size={decoding.no_repeat_ngram_size} is not something vLLM does; "
                    "set it to 0 or use engine.generation_backend=transformers"
                )
        if self.engine.generation_backend == "vllm" and self.engine.device.startswith("cuda:"):
            raise UserError(
                f"engine.device={self.engine.device}: vLLM takes the first GPU it sees; use engine.device=cuda and "
                "CUDA_VISIBLE_DEVICES"
            )
        capacity, size = self.method.student_data.replay_capacity, self.distill.batch_sequences
        require(
            capacity == 0 or capacity >= size,
            "method.student_data.replay_capacity",
            capacity,
            f"0 or at least distill.batch_sequences={size}",
        )
        if self.published is not None:
            from srd.published import published

            look_up(published(), self.published.partition("/")[0], "published table")
        if self.method.divergence is not None:
            check_parameters(self.method.divergence, self.method.parameters)
        return self
