"""What is learned from: data sets, their columns, auxiliary text."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from srd.errors import MOST, UserError, require, require_seed, require_whole

EMBEDDED = "pydoc"
"""The data set that comes with Python."""

WARMUP = "warmup"
"""The split of samples that warm a model up and that no other stage reads."""

TEXT = "text"
"""The loader of documents, which are cut into windows of tokens."""


def _embedded_only(value: int, *, _parent_: DictConfig) -> int | None:
    """A setting of the embedded data set, which does not hold for what the user puts in its place."""
    return value if _parent_["path"] is None and _parent_["hub"] is None else None


def _where_set(value: Any, then: Any, otherwise: Any) -> Any:
    """A setting that depends on whether another one is set."""
    return otherwise if value is None else then


OmegaConf.register_new_resolver("embedded_only", _embedded_only, replace=True)
OmegaConf.register_new_resolver("where_set", _where_set, replace=True)


@dataclass
class ColumnNames:
    """Names of a foreign data set's columns; `translation.en` is the field `en` of the column `translation`."""

    instruction: str = "instruction"
    """Column of the instruction."""
    input: str = "input"
    """Column of the optional input; a data set without it has none."""
    instruction_text: str | None = None
    """The instruction of every row, in place of a column: for tasks whose rows have an input and an output alone."""
    output: str = "output"
    """Column of the response, a string or a list of references."""
    system: str | None = None
    """Column of what the assistant is told before the first turn, for chat templates; none: such a column is not
    used."""
    text: str | None = None
    """Column of a document, for the loader `text`; none: `text`."""
    tests: str | None = None
    """Column of Python with asserts that code in an answer has to pass, one text or a list of them; the same as `input`
    where the prompt shows them."""
    setup: str | None = None
    """Column of Python that the tests need first, one text or a list of lines."""
    entry_point: str | None = None
    """Column of the name of the function that is tested, where the instruction is the beginning of its code."""


@dataclass
class Dataset:
    """Where samples come from and how they are split."""

    name: str = "pydoc"
    """Loader, a key of `srd.datasets.DATASETS`. The embedded one stands aside where `path` or `hub` is set."""
    path: str | None = None
    """Local file or folder, read by what it is (JSON Lines, a JSON array, Parquet, packed too); takes precedence over
    the hub and stays out of the fingerprint (the content is in it)."""
    hub: str | None = None
    """Name on the Hugging Face hub."""
    revision: str | None = None
    """Commit of the hub data set; required where `hub` is used."""
    config_name: str | None = None
    """Config of a hub data set that has several."""
    columns: ColumnNames = field(default_factory=ColumnNames)
    """Column names, for loaders `jsonl` and `hub`."""
    limit: int | None = None
    """At most this many training samples, chosen by id."""
    tokens: int | None = None
    """Tokens of all training windows together, for the loader `text`: as many windows of `model.max_tokens` as are full
    within them; none: all that the documents fill. What is streamed from the hub needs it, and ends by it."""
    dev_samples: int | None = None
    """At most this many dev samples (documents, where they are cut into windows), taken from the training split where
    the source has no dev split; none: all that the source has."""
    test_samples: int | None = None
    """At most this many test samples (documents, where they are cut into windows), taken from the training split where
    the source has no test split; none: all that the source has."""
    warmup_samples: int | None = None
    """At most this many samples of a split that only `model.*.finetune.split=warmup` reads, taken from the training
    split where the source has none; none: no such split."""
    corrupt: float = 0.0
    """Share of the training samples whose response is spoilt as `corrupt_kind` says, chosen by id and `corrupt_seed`:
    noise whose place is known. Fine-tuning on the training split sees it too."""
    corrupt_kind: str = "exchanged"
    """A key of `srd.stages.noise.CORRUPTIONS`. exchanged: another sample's response; truncated: the first words, at
    most half of them; garbled: the characters of every word in random order."""
    corrupt_seed: int = 10
    """Seed of that choice."""
    strict: bool = False
    """Stop at a row with an empty response or at a duplicate, instead of counting and skipping it."""

    @property
    def location(self) -> "Dataset":
        """The data set as its loader sees it: where it lies, not what is made of it."""
        columns, tokens = self.columns, self.tokens
        return Dataset(self.name, self.path, self.hub, self.revision, self.config_name, columns, tokens=tokens)

    @property
    def is_text(self) -> bool:
        """Whether its documents are cut into windows of tokens; else its samples are prompts with responses."""
        return self.name == TEXT

    def __post_init__(self) -> None:
        if self.name == EMBEDDED:
            self._choose_loader()

    def check(self, key: str) -> None:
        for name in ("limit", "tokens", "dev_samples", "test_samples", "warmup_samples"):
            value, absent = getattr(self, name), "none" if name == "warmup_samples" else "all"
            require(value is None or 1 <= value <= MOST, f"{key}.{name}", value, f"1 to {MOST}, or null for {absent}")
        require(0 <= self.corrupt < 1, f"{key}.corrupt", self.corrupt, "a share in [0, 1)")
        require_seed(f"{key}.corrupt_seed", self.corrupt_seed)
        if self.is_text:
            require(self.corrupt == 0, f"{key}.corrupt", self.corrupt, "0: a document has no response to exchange")
        else:
            expected = f"nothing beside dataset={self.name}, only the loader {TEXT} reads it"
            require(self.tokens is None, f"{key}.tokens", self.tokens, expected)
            require(self.columns.text is None, f"{key}.columns.text", self.columns.text, expected)

    def _choose_loader(self) -> None:
        """Whoever names a file or a data set of the hub means it and not the embedded one."""
        if self.path is not None and self.hub is not None:
            raise UserError(f"dataset.path={self.path} dataset.hub={self.hub}: expected one of them; leave one out")
        if self.path is not None or self.hub is not None:
            self.name = "jsonl" if self.path is not None else "hub"
            return
        columns = {
            f"columns.{key}": name for key, name in vars(self.columns).items() if name != vars(ColumnNames())[key]
        }
        for key, value in {"revision": self.revision, "config_name": self.config_name, **columns}.items():
            expected = f"nothing beside dataset={EMBEDDED}; set dataset.path=FILE or dataset.hub=NAME"
            require(value is None, f"dataset.{key}", value, expected)


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
