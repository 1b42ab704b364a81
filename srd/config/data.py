"""What is learned from: data sets, their columns, auxiliary text."""

from dataclasses import dataclass, field

from srd.errors import MOST, require, require_seed, require_whole


@dataclass
class ColumnNames:
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
    columns: ColumnNames = field(default_factory=ColumnNames)
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

    @property
    def location(self) -> "Dataset":
        """The data set as its loader sees it: where it lies, not what is made of it."""
        return Dataset(self.name, self.path, self.hub, self.revision, self.columns)

    def check(self, key: str) -> None:
        for name in ("limit", "dev_samples", "test_samples"):
            value = getattr(self, name)
            require(value is None or 1 <= value <= MOST, f"{key}.{name}", value, f"1 to {MOST}, or null for all")
        require(0 <= self.corrupt < 1, f"{key}.corrupt", self.corrupt, "a share in [0, 1)")
        require_seed(f"{key}.corrupt_seed", self.corrupt_seed)


@dataclass
class Corpus:
    """Plain text for a language-modelling loss next to distillation (DistiLLM, MiniLLM)."""

    path: str | None = None
    """JSON Lines file (gzip too) with a column `text`; none: no such loss. Its content, not its place, is in the
    fingerprint."""
    weight: float = 1.0
    """Weight of the mean cross-entropy of its tokens."""
    batch_sequences: int = 8
    """Texts a step."""

    def check(self, key: str) -> None:
        require(self.weight > 0, f"{key}.weight", self.weight, "more than 0")
        require_whole(f"{key}.batch_sequences", self.batch_sequences, 1, MOST)
