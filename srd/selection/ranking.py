"""Difficulty ranking: signals to ranks, ranks to one order. Pure functions over columns, free of input order.

With its filter and a curriculum it chooses data for any trainer, from difficulties that need not come from here:

    >>> import numpy as np
    >>> from srd.config import Curriculum
    >>> from srd.selection.curricula import baby_step
    >>> from srd.selection.ranking import easiest, rank
    >>> loss = np.array([0.5, 2.0, 1.0, 3.0])  # larger is harder
    >>> ranking = rank({"id": np.array(["a", "b", "c", "d"]), "loss": loss, "words": np.array([9, 20, 5, 40])}, 60.0)
    >>> ranking["id"].tolist(), ranking["words_rank"].tolist()
    (['a', 'c', 'b', 'd'], [2.0, 1.0, 3.0, 4.0])
    >>> baby_step(easiest(ranking, 0.75)["id"].tolist(), Curriculum(phases=3))
    [['a'], ['a', 'c'], ['a', 'c', 'b']]

Axes: N samples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from srd.config import PASS_RATE
from srd.errors import UserError
from srd.metrics import METRICS
from srd.store.columns import Columns
from srd.store.rows import Sample

# The graph imports this file for the names of the signals; the tests check the shapes.
if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped


def uniform(id: str, seed: int | str) -> float:
    """A number in [0, 1) drawn for one id: the same whatever other ids there are.

    Two draws that must not know of each other need different words in their seeds.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {id}".encode()).digest()[:7]) / 2**56


SAMPLES, REFLECTIONS = "samples", "reflections"
SCORES = {"student": "student_scores", "teacher": "teacher_scores"}
"""Where a signal of a family comes from."""
VERIFIED = "verified_answers"
"""Where the pass rate comes from: what the verifier says of the answers."""
REFLECTION_METRICS = ("rouge_l",)
"""The metrics that every reflection has. Any other is taken afterwards of the answers that a reflection keeps, so that
arms with other signals share the answers."""


@dataclass(frozen=True)
class Signal:
    """One reading of how hard a sample is, and where it comes from: the sample alone, the student's answer to it, or
    what a model makes of its reference."""

    larger_is_harder: bool
    of_sample: Callable[[Sample, int], float] | None = None
    """From the sample and `rank.seed`; none: a column of what is measured."""
    is_drawn: bool = False
    """Whether it depends on the seed."""
    metric: str | None = None
    """The metric of the student's answer that it is; of several answers the mean."""
    is_verified: bool = False
    """Whether it is the mean of the metric that `rank.verifier` names."""
    family: str | None = None
    """The scores that have it: student's, or teacher's, which the student's part in them belongs to."""
    in_reflections: bool = False
    """Whether the reflections have it besides."""

    @property
    def is_of_answers(self) -> bool:
        """Whether the student has to answer for it."""
        return self.metric is not None or self.is_verified

    @property
    def sign(self) -> float:
        """Times the signal, larger is harder."""
        return 1.0 if self.larger_is_harder else -1.0


def of_metric(name: str) -> Signal:
    """How good the student's answer was: a good one is to an easy prompt."""
    return Signal(larger_is_harder=not METRICS[name].higher_is_better, metric=name)


SIGNALS: dict[str, Signal] = {
    **{name: of_metric(name) for name in METRICS},
    PASS_RATE: Signal(larger_is_harder=False, is_verified=True),
    "nll": Signal(larger_is_harder=True, family="student", in_reflections=True),
    "student_entropy": Signal(larger_is_harder=True, family="student"),
    "teacher_nll": Signal(larger_is_harder=True, family="teacher"),
    "forward_kl": Signal(larger_is_harder=True, family="teacher"),
    "nll_ratio": Signal(larger_is_harder=True, family="teacher"),
    "length": Signal(larger_is_harder=True, of_sample=lambda sample, seed: float(len(sample.references[0]))),
    "random": Signal(larger_is_harder=True, of_sample=lambda sample, seed: uniform(sample.id, seed), is_drawn=True),
}
"""Signals by name. Of the student's answers: the mean of each metric over them, and `pass_rate`, the share that the
verifier accepts (difficulty by execution; PACED, arXiv 2603.11178). Of a sample alone: `length` in characters of its
response. Of its reference, means over the supervised positions (SE-KD, arXiv 2602.01395, section 3; nats): `nll` and
`student_entropy` of the student, `teacher_nll`, `forward_kl` = KL(p ‖ q), and `nll_ratio`, the student's mean NLL by
the teacher's."""


def graded(metric: str) -> str:
    """Where a metric of the answers comes from that the reflections do not have."""
    return f"{metric}_grades"


def sources(orders: Iterable[Iterable[str]]) -> dict[str, str]:
    """Where each signal of a run's orders comes from: `samples`, `reflections`, grades of the answers in them (see
    `graded`, `VERIFIED`), `student_scores` or `teacher_scores`.

    What the reflections have besides is taken from them where some signal needs answers, so that the student does not
    read everything twice; where none does, no answer is written.
    """
    names = dict.fromkeys(name for signals in orders for name in signals)
    answered = reads_answers(names)
    return {name: source_of(name, answered) for name in names}


def reads_answers(names: Iterable[str]) -> bool:
    """Whether the student has to answer for some of the signals."""
    return any(SIGNALS[name].is_of_answers for name in names)


def source_of(name: str, answered: bool) -> str:
    """Where a signal comes from, given whether the student has answered."""
    signal = SIGNALS[name]
    if signal.is_verified:
        return VERIFIED
    if signal.metric is not None and signal.metric not in REFLECTION_METRICS:
        return graded(signal.metric)
    if signal.metric is not None or (signal.in_reflections and answered):
        return REFLECTIONS
    return SAMPLES if signal.family is None else SCORES[signal.family]


def difficulties(signals: list[str], samples: Iterable[Sample], measured: dict[str, Columns], seed: int) -> Columns:
    """Difficulty of every sample (larger is harder): a column `id`, in its order, and one for each signal.

    `measured` has columns by source. A value that is not a number is a `UserError` with its sample's id, and so is a
    sample that one source has and another has not.
    """
    alone = {name: of_sample for name in signals if (of_sample := SIGNALS[name].of_sample) is not None}
    tables: dict[str, Columns] = {}
    if alone:
        rows = list(samples)
        columns = {name: np.array([of_sample(row, seed) for row in rows]) for name, of_sample in alone.items()}
        tables[SAMPLES] = {"id": np.array([row.id for row in rows]), **columns}
    for source, columns in measured.items():
        wanted = {name: SIGNALS[name].sign * columns[name] for name in signals if name in columns}
        tables[source] = {"id": columns["id"], **wanted}
    found = _joined(tables)
    for signal in signals:
        broken = found["id"][np.isnan(found[signal])]
        if len(broken):
            raise UserError(
                f"{signal} of sample {broken[0]} is not a number ({len(broken)} such); look at its reference"
            )
    return {"id": found["id"], **{signal: found[signal] for signal in signals}}


def _joined(tables: dict[str, Columns]) -> Columns:
    """One table by id; a sample that is not in all of them is a `UserError`."""
    # They come in orders of their own: each is sorted by id, and then they are one table.
    ordered = {source: _sorted_by_id(columns) for source, columns in tables.items()}
    first, *others = ordered
    for other in others:
        if not np.array_equal(ordered[first]["id"], ordered[other]["id"]):
            lonely = np.setxor1d(ordered[first]["id"], ordered[other]["id"])
            raise UserError(
                f"sample {lonely[0]} is not in both {first} and {other} ({len(lonely)} such); delete the folder of "
                f"the {other} and run again"
            )
    return {name: values for columns in ordered.values() for name, values in columns.items()}


def _sorted_by_id(columns: Columns) -> Columns:
    order = np.argsort(columns["id"])
    return {name: values[order] for name, values in columns.items()}


def mean_ranks(values: Shaped[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Rank of every value, 1 = smallest; equal values share the mean of their ranks."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    # A group's ranks are the `count` numbers that end at `last`: their mean is that of the first and the last of them.
    last = np.cumsum(count)
    return ((2 * last - count + 1) / 2)[group]


def fuse(ranks: Iterable[Float[np.ndarray, " N"]], k: float) -> Float[np.ndarray, " N"]:
    """Reciprocal rank fusion: Σ over signals of 1 / (k + rank), larger is easier (Cormack et al. 2009; SRD, k = 60)."""
    return np.add.reduce([1.0 / (k + signal_ranks) for signal_ranks in ranks])


def rank(values: Columns, k: float) -> Columns:
    """Columns `id, <signal>_rank…, fused, rank`, easiest first, from `difficulties`; what is still equal is ordered by
    id."""
    ranks = {f"{signal}_rank": mean_ranks(column) for signal, column in values.items() if signal != "id"}
    fused = fuse(ranks.values(), k)
    # The last key sorts first; ids, which are hashes, break ties in a way that does not depend on the input's order.
    order = np.lexsort((values["id"], -fused))
    columns = {"id": values["id"], **ranks, "fused": fused}
    return {**{name: column[order] for name, column in columns.items()}, "rank": np.arange(1, len(order) + 1)}


def kept_count(samples: int, keep: float) -> int:
    """⌊λN⌋."""
    # λN may be a whole number that floats put just below itself (0.29 · 100 = 28.999…): it must not lose a sample.
    return math.floor(samples * keep + 1e-9)


def some_kept(samples: int, keep: float) -> int:
    """⌊λN⌋, one at least, or a `UserError`."""
    count = kept_count(samples, keep)
    if count == 0:
        raise UserError(f"filter.keep={keep}: no samples left of {samples}; raise it or use more data")
    return count


def easiest(ranking: Columns, keep: float) -> Columns:
    """The first ⌊λN⌋ of the columns `id, rank`, in their order; none left is a `UserError`."""
    return chosen(ranking, np.argsort(ranking["rank"])[: some_kept(len(ranking["rank"]), keep)])


def hardest(ranking: Columns, keep: float) -> Columns:
    """The last ⌊λN⌋ of the columns `id, rank`, in their order, easy to hard too (SE-KD, arXiv 2602.01395, keeps the
    samples that the student is least sure of); none left is a `UserError`."""
    return chosen(ranking, np.argsort(ranking["rank"])[-some_kept(len(ranking["rank"]), keep) :])


ENDS: dict[str, Callable[[Columns, float], Columns]] = {"easiest": easiest, "hardest": hardest}
"""Which end of an order stays."""


def chosen(ranking: Columns, rows: Int[np.ndarray, " kept"] | Bool[np.ndarray, " N"]) -> Columns:
    """The rows of the columns with these indices, or where `rows` holds."""
    return {name: values[rows] for name, values in ranking.items()}
