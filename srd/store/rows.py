"""The rows of every artefact, and the one way they are read and written (JSON Lines, UTF-8)."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from srd.config import WARMUP
from srd.errors import UserError
from srd.store.files import anew

Row = TypeVar("Row")
METRICS_FIELD = "metrics"
"""The field whose entries are columns of the file."""
SPLITS = ("train", "dev", "test", WARMUP)


@dataclass(frozen=True)
class Sample:
    """One instruction with its reference answer; `output` is a list where a suite has several references.

    Or a document, or a window of tokens, which have an output alone.
    """

    id: str
    instruction: str
    input: str
    output: str | list[str]
    split: str
    system: str = ""
    """What a conversation tells the assistant before its first turn."""
    ids: list[int] | None = None
    """The tokens of a window, of which `output` shows the text; none: it is tokenised at use."""
    borders: list[int] | None = None
    """Where in `ids` nothing is predicted, because a document begins there behind another one."""
    tests: list[str] | None = None
    """Python with asserts that code in an answer has to pass; none: answers are not executed."""
    setup: str = ""
    """Python that these need first."""
    entry_point: str = ""
    """The function that they call, where the instruction is the beginning of its code."""

    @property
    def references(self) -> list[str]:
        return self.output if isinstance(self.output, list) else [self.output]


@dataclass(frozen=True)
class Corrupted:
    """A training sample (`id`, once `was`) whose response is not its own: that of the sample `donor`, or its own one
    spoilt."""

    id: str
    was: str
    donor: str | None = None


@dataclass(frozen=True)
class Answered:
    """What the teacher answered to a training prompt: ids of its tokens with the EOS, unless it was `cut`."""

    id: str
    response: str
    token_ids: list[int]
    cut: bool


@dataclass(frozen=True)
class Reflection:
    """What the student answered: metrics of the answer, or their means over several answers, and the `nll` of the
    reference in nats per token."""

    id: str
    response: str
    metrics: dict[str, float]
    nll: float
    tokens: int
    """Of all answers."""
    others: list[str] | None = None
    """The answers after the first one, where there are several."""
    by_answer: dict[str, list[float]] | None = None
    """The metrics of every answer, where there are several."""

    @property
    def answers(self) -> list[str]:
        """All answers, in the order of their numbers."""
        return [self.response, *(self.others or [])]


@dataclass(frozen=True)
class Grade:
    """What one metric says of the student's answers to a prompt: of each, and the mean (of a verifier: pass rate)."""

    id: str
    mean: float
    by_answer: list[float]


@dataclass(frozen=True)
class Phase:
    """The samples of one curriculum phase."""

    phase: int
    ids: list[str]
    weights: list[float] | None = None
    """What the loss of each of them is multiplied by; none: by one."""


@dataclass(frozen=True)
class Score:
    """One scored answer: `nll` in nats per reference token, `cut` where the length limit ended it."""

    task: str
    id: str
    seed: int
    prediction: str
    metrics: dict[str, float]
    nll: float
    tokens: int
    cut: bool
    corpus: dict[str, list[float]] | None = None
    """What it adds to the metrics that are taken of all answers together."""

    def value(self, name: str) -> float:
        """A metric, or one of the other numbers."""
        return float(self.metrics[name] if name in self.metrics else getattr(self, name))


@dataclass(frozen=True)
class Likelihood:
    """How likely a row's text is: sums over its `positions`, and by bin of the likeliest token's probability."""

    id: str
    nll: float
    """Of all positions, nats."""
    positions: int
    counts: list[int]
    """Positions of every bin."""
    confidence: list[float]
    """Sum of the likeliest token's probability in every bin."""
    hits: list[int]
    """Positions of every bin whose likeliest token is the text's own."""


@dataclass(frozen=True)
class TaskScore:
    """What another program says of a checkpoint: one metric of one of its tasks."""

    task: str
    metric: str
    filter: str
    """How an answer was taken from what the model wrote."""
    value: float
    stderr: float | None
    """Standard error of the value; none: the program gives none."""
    samples: int | None
    """Questions asked; none: of a group of tasks."""
    version: str
    """Of the task."""
    shots: int | None = None
    """Examples before each question."""
    higher_is_better: bool | None = None


def sample_id(instruction: str, input: str, output: str | list[str], system: str = "") -> str:
    """16 hex digits of the SHA-256 of the text: the key that joins every artefact."""
    text = json.dumps([instruction, input, output, *([system] if system else [])], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def dump(row: Any) -> str:
    """One line of JSON for a row (a dataclass or a dict), with its newline; metrics are columns of their own."""
    if isinstance(row, dict):
        return json.dumps(row, ensure_ascii=False) + "\n"
    values: dict[str, Any] = {}
    # What most rows do not have is left out of those.
    usual = {field.name: field.default for field in fields(row)}
    for name, value in asdict(row).items():
        if value != usual[name]:
            values |= value if name == METRICS_FIELD else {name: value}
    return json.dumps(values, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """Write all rows at once."""
    with anew(path).open("w", encoding="utf-8") as file:
        file.writelines(dump(row) for row in rows)


def read_dicts(path: Path) -> list[dict[str, Any]]:
    """Every row as a dict; a line that is not JSON is a `UserError` with file and line number."""
    return list(_dicts(path))


def _dicts(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{path}:{number}: not a JSON row ({error.msg}); delete the folder and run again"
                ) from None


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Every row as a `kind`; in one with metrics, the columns that it has no field for are its metrics."""
    names = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    rows, shared = [], {}
    for row in _dicts(path):
        if row.get("ids"):
            # One object for each number or text that comes again and again: the tokens of a corpus must fit memory.
            row["ids"] = [shared.setdefault(id, id) for id in row["ids"]]
        values = {key: value for key, value in row.items() if key in names}
        if METRICS_FIELD in names:
            values[METRICS_FIELD] = {key: value for key, value in row.items() if key not in names}
        rows.append(kind(**values))
    return rows


def first_row(path: Path, kind: type[Row]) -> Row:
    """The first row as a `kind`, the others unread."""
    with path.open(encoding="utf-8") as file:
        return kind(**json.loads(file.readline()))
