"""Which samples stay, and when each of them enters training."""

from dataclasses import dataclass, field

from srd.errors import require, require_seed, require_whole

MOST_PHASES = 1000
"""Phases that no curriculum has: more is a slip."""
PASS_RATE = "pass_rate"
"""The signal that is the share of right answers among those of the reflection."""


@dataclass
class Rank:
    """Difficulty from signals: of the sample, of the student's answer, or of what the models make of the reference."""

    signals: list[str] = field(default_factory=lambda: ["rouge_l", "nll"])
    """Keys of `srd.selection.ranking.SIGNALS`, fused by reciprocal rank fusion."""
    rrf_k: float = 60.0
    """The constant k of 1 / (k + rank)."""
    seed: int = 10
    """Seed of the signal `random`."""
    verifier: str | None = None
    """The metric of `srd.metrics.METRICS` that says whether an answer is right (1) or not (0), for `pass_rate`."""

    def check(self, key: str) -> None:
        require(
            len(self.signals) == len(set(self.signals)) > 0,
            f"{key}.signals",
            self.signals,
            "one or more different signals",
        )
        require(self.rrf_k >= 0, f"{key}.rrf_k", self.rrf_k, "0 or more")
        require_seed(f"{key}.seed", self.seed)


@dataclass
class Filter:
    """A share of the samples stays, from one end of their order."""

    keep: float | int | str = 0.75
    """λ: share of the training samples that stay, in their order, easiest first; auto: `rule` chooses it."""
    rule: str = "knee"
    """What chooses λ where keep is auto, a key of `srd.selection.adaptive.RULES`: knee or mixture of the difficulties
    by `rank.signals`, whatever `by` is, or budget."""
    passes: int | None = None
    """Sample passes that the whole distillation may take, for `rule: budget`."""
    end: str = "easiest"
    """Which of them stay: the easiest (SRD) or the hardest (SE-KD keeps what the student is least sure of)."""
    by: str = "rank"
    """What decides who stays: rank (the fused order), one signal alone, or random (as many, by chance: the fair
    control)."""
    seed: int = 10
    """Seed of `by: random`."""
    weights: str | None = None
    """By what the losses of the samples that stay are weighed, a key of `srd.selection.weights.WEIGHTS`; none: all
    weigh the same."""
    weight_powers: list[float] = field(default_factory=lambda: [1.0, 1.0])
    """α and β of p^α (1 - p)^β, the weight of a sample that the student answers rightly with a share p."""

    def check(self, key: str) -> None:
        powers, expected = self.weight_powers, "two powers above 0"
        require(len(powers) == 2 and min(powers) > 0, f"{key}.weight_powers", powers, expected)
        is_share = not isinstance(self.keep, str) and 0 < self.keep <= 1
        require(self.is_auto or is_share, f"{key}.keep", self.keep, "a share in (0, 1], or auto")
        if self.passes is not None:
            require(self.passes > 0, f"{key}.passes", self.passes, "1 or more")
        require(self.end in ("easiest", "hardest"), f"{key}.end", self.end, "easiest or hardest")
        require_seed(f"{key}.seed", self.seed)

    @property
    def is_auto(self) -> bool:
        """Whether λ is chosen when the samples are there."""
        return self.keep == "auto"

    @property
    def share(self) -> float:
        """λ, or the most that it may be where it is chosen later."""
        return 1.0 if isinstance(self.keep, str) else float(self.keep)

    @property
    def may_drop(self) -> bool:
        """Whether samples may go."""
        return self.is_auto or self.share < 1

    @property
    def reads_difficulties(self) -> bool:
        """Whether λ is chosen by the difficulties of the ranking."""
        return self.is_auto and self.rule != "budget"


@dataclass
class Curriculum:
    """Which samples each phase sees, and in which order."""

    name: str = "baby_step"
    """A key of `srd.selection.curricula.CURRICULA`."""
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

    def check(self, key: str) -> None:
        require_whole(f"{key}.phases", self.phases, 1, MOST_PHASES)
        require(
            self.sizes is None
            or (len(self.sizes) == self.phases and min(self.sizes) > 0 and abs(sum(self.sizes) - 1) < 1e-6),
            f"{key}.sizes",
            self.sizes,
            f"{key}.phases={self.phases} shares above 0 that add up to 1",
        )
        require(0 <= self.replay <= 1, f"{key}.replay", self.replay, "a share in [0, 1]")
        require(self.order in ("shuffled", "kept"), f"{key}.order", self.order, "shuffled or kept")
        require_seed(f"{key}.seed", self.seed)
