"""Which positions and which classes are distilled (SE-KD, arXiv 2602.01395, section 3)."""

from dataclasses import dataclass, field

from srd.errors import MOST, MOST_TOKENS, require, require_seed, require_whole


@dataclass
class Positions:
    """Which supervised positions the divergence is taken at, and how much each of them counts."""

    policy: str = "all"
    """A key of `srd.selection.positions.POLICIES`."""
    signal: str = "student_entropy"
    """What says how much a position matters: a key of `srd.selection.importance.IMPORTANCE`."""
    share: float = 0.2
    """k: share of the positions that are chosen; of L positions it is ⌈kL⌉."""
    quota: str = "sequence"
    """What the share of `top` is of: sequence (each has its own quota), or step (all sequences of a step together, at
    the price of one more forward pass)."""
    history: int = 30_000
    """Values that `threshold` remembers."""
    slide: float = 0.41
    """Share of all steps over which `window` slides from the lowest to the highest values."""
    band: list[float] = field(default_factory=lambda: [0.7, 0.8])
    """Lower and upper end of `band`, as shares of a sequence's positions in ascending order."""
    unbiased: bool = False
    """Whether what `sampled` draws estimates the loss over all positions, or that loss weighted by the signal."""
    easy_weight: float = 0.2
    """Weight of the easy positions' mean loss in `split`; 1 minus it is that of the hard ones."""
    loss_tolerance: float = 0.1
    """How far the mean loss of `adaptive` moves from its reference, as a share of it, before the share changes."""
    seed: int = 10
    """Seed of the signal `random` and of what `sampled` draws."""
    cooling: float = 0.0
    """How much cooler than the schedule's temperature a position is whose signal is over its sequence's median, and
    how much warmer one under it: τ exp(-c tanh ln(signal / median)); 0: all have the same."""
    cross_entropy: str = "all"
    """Positions of the cross-entropy with the reference: all, or chosen."""
    weight: str | None = None
    """Signal by which the chosen positions of a sequence are weighted, mean weight 1; none: all count the same."""

    @property
    def are_all(self) -> bool:
        """Whether every position counts, and all the same."""
        return self.policy == "all" and self.weight is None and self.cooling == 0

    @property
    def label(self) -> str:
        """In the name of an arm that has none of its own."""
        of = f"{self.band[0]:g}-{self.band[1]:g}" if self.policy == "band" else f"{self.share:g}"
        chosen = [] if self.policy == "all" else [f"{self.policy} {of} {self.signal}"]
        chosen += [f"by {self.weight}"] if self.weight else []
        return ", ".join([*chosen, *([f"cooling {self.cooling:g}"] if self.cooling else [])])

    def check(self, key: str) -> None:
        require(0 < self.share <= 1, f"{key}.share", self.share, "a share in (0, 1]")
        require(self.quota in ("sequence", "step"), f"{key}.quota", self.quota, "sequence or step")
        require_whole(f"{key}.history", self.history, 1, MOST)
        require(0 < self.slide <= 1, f"{key}.slide", self.slide, "a share in (0, 1]")
        fits = len(self.band) == 2 and 0 <= self.band[0] < self.band[1] <= 1
        require(fits, f"{key}.band", self.band, "two shares in [0, 1], the lower one first")
        require(0 <= self.easy_weight <= 1, f"{key}.easy_weight", self.easy_weight, "a weight in [0, 1]")
        require(0 <= self.cooling <= 5, f"{key}.cooling", self.cooling, "a number in [0, 5]")
        require(self.loss_tolerance > 0, f"{key}.loss_tolerance", self.loss_tolerance, "more than 0")
        require_seed(f"{key}.seed", self.seed)
        places = ("all", "chosen")
        require(self.cross_entropy in places, f"{key}.cross_entropy", self.cross_entropy, " or ".join(places))


@dataclass
class Classes:
    """Which classes of the vocabulary carry the teacher's distribution, where `teacher.signal` keeps only some."""

    draws: int = 64
    """U: draws from the teacher's distribution at each position, with replacement (`teacher.signal=sampled`)."""
    slots: int = 64
    """Different classes that are kept of them at most, those drawn most often; as many as draws lose nothing."""
    count: int = 64
    """Most probable classes that are kept, and one class for all others (`teacher.signal=top`)."""
    temperature: float = 1.0
    """Temperature of the distribution that is drawn from or cut; the loss has to have the same."""
    seed: int = 10
    """Seed of the draws."""

    def check(self, key: str) -> None:
        require_whole(f"{key}.draws", self.draws, 1, 255)
        require_whole(f"{key}.slots", self.slots, 1, 255)
        require_whole(f"{key}.count", self.count, 1, MOST_TOKENS)
        fits = 1e-3 <= self.temperature <= 1e3
        require(fits, f"{key}.temperature", self.temperature, "a temperature in [0.001, 1000]")
        require_seed(f"{key}.seed", self.seed)


@dataclass
class Selection:
    """The axes of selection inside the loss: positions and classes. Samples are chosen by `filter`."""

    name: str = "all"
    """Name in tables."""
    positions: Positions = field(default_factory=Positions)
    """Where the divergence is taken."""
    classes: Classes = field(default_factory=Classes)
    """Between which classes."""
