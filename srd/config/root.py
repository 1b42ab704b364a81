"""The whole experiment: its sections, and what follows from several of them together."""

import re
from dataclasses import dataclass, field

from srd.config.curation import PASS_RATE, Curriculum, Filter, Rank
from srd.config.data import Dataset
from srd.config.engine import Engine, Logger, Plan
from srd.config.generation import Evaluate, GenerationDefaults, Reflect
from srd.config.method import Method, Schedule
from srd.config.models import SPARSE, Model, Teacher
from srd.config.recipe import Distill
from srd.config.selection import Selection
from srd.errors import require


def check_study(name: str) -> None:
    """A `UserError` for a study's name that is not that of a folder on every file system."""
    fits = re.fullmatch(r"[^\W_][^/\\\x00-\x1f]*", name) is not None and len(name.encode()) <= 100
    require(fits, "study", name, "a name that begins with a letter or digit, without / and \\, of at most 100 bytes")


@dataclass
class Config:
    """The whole experiment."""

    model: Model
    dataset: Dataset = field(default_factory=Dataset)
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)
    reflect: Reflect = field(default_factory=Reflect)
    rank: Rank = field(default_factory=Rank)
    filter: Filter = field(default_factory=Filter)
    curriculum: Curriculum = field(default_factory=Curriculum)
    schedule: Schedule = field(default_factory=Schedule)
    method: Method = field(default_factory=Method)
    teacher: Teacher = field(default_factory=Teacher)
    selection: Selection = field(default_factory=Selection)
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

    def check(self, key: str) -> None:
        check_study(self.study)
        for name in ("outputs", "arm"):
            value = getattr(self, name)
            require(value is None or value.strip() != "", name, "''", "some text, or the key left away")

    @property
    def is_curated(self) -> bool:
        """Whether something is dropped, weighed or ordered."""
        return self.is_filtered or self.num_phases > 1 or self.curriculum.order == "kept"

    @property
    def is_filtered(self) -> bool:
        """Whether some samples may go, or the losses of those that stay weigh differently."""
        return self.filter.may_drop or self.filter.weights is not None

    @property
    def is_ordered(self) -> bool:
        """Whether the order of the samples that stay matters."""
        shuffles = self.num_phases > 1 and self.curriculum.name == "random_order"
        return not shuffles and (self.num_phases > 1 or self.curriculum.order == "kept")

    @property
    def orders(self) -> list[list[str]]:
        """Signals of every order that the run reads: the ranking, and what else decides who stays; with them the
        signal that weighs who stays."""
        weighs = [[self.weighed_by]] if self.weighed_by is not None else []
        if not self.filter.may_drop and not self.is_ordered:
            return weighs
        other = [[self.filter.by]] if self.filter.may_drop and self.filter.by != "rank" else []
        ranked = self.is_ordered or not other or self.filter.reads_difficulties
        return [*([self.rank.signals] if ranked else []), *other, *weighs]

    @property
    def weighed_by(self) -> str | None:
        """The signal that the weights of samples are made of."""
        return PASS_RATE if self.filter.weights is not None else None

    @property
    def needs_online_teacher(self) -> bool:
        """Whether the teacher must read texts that are not the samples' own, or brings code of its own around its
        head."""
        return self.method.is_on_policy or self.method.responses == "teacher" or self.model.teacher.trust_remote_code

    @property
    def caches_teacher(self) -> bool:
        """Whether distillation reads the teacher from disk; `auto` has been chosen before, or means the disk."""
        return self.method.divergence is not None and self.teacher.signal != "online" and not self.needs_online_teacher

    @property
    def num_phases(self) -> int:
        return 1 if self.curriculum.name == "none" else self.curriculum.phases

    @property
    def longest_tokens(self) -> int:
        """The longest text that any stage of the run puts before a model."""
        decodings = [self.reflect.generation, self.evaluate.generation]
        decodings += [self.method.student_data.generation] if self.method.is_on_policy else []
        decodings += [self.method.answers] if self.method.responses == "teacher" else []
        longest_answer = max(decoding.max_new_tokens for decoding in decodings)
        cut, written = self.method.student_data.prompt_tokens or 0, self.method.student_data.generation.max_new_tokens
        continued = cut + written if self.method.is_on_policy else 0
        return max(self.model.max_tokens, self.model.max_prompt_tokens + longest_answer, continued)

    @property
    def arm_name(self) -> str:
        filtered, share = self.filter.may_drop, f"{self.filter.share:g}"
        share = f"auto ({self.filter.rule})" if self.filter.is_auto else share
        kept = f"{share} hardest" if filtered and self.filter.end == "hardest" else share
        weighed = f", {self.filter.weights}" if self.filter.weights is not None else ""
        curated = f"+{self.curriculum.name}-{self.num_phases}, keep {kept}{weighed}" if self.is_curated else ""
        label = self.selection.positions.label
        chosen = f"+{label}" if label else ""
        classes = f"+{self.teacher.signal} classes" if self.teacher.signal in SPARSE else ""
        return self.arm or self.method.name + curated + chosen + classes
