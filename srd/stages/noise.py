"""Noise whose place is known: training responses that are spoilt on purpose, to see whether a ranking finds them."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from srd.errors import UserError
from srd.selection.ranking import uniform
from srd.store.rows import Corrupted, Sample, sample_id

DRAWS = 1000
"""Tries to find a different response."""
Spoilt = tuple[str | list[str], str | None]
"""A response, and the id of the sample that it was taken from."""


@dataclass(frozen=True)
class Corruption:
    """A way to spoil responses."""

    possible: Callable[[Sample], bool]
    """Whether a sample's response can be."""
    tries: Callable[[Sample, list[Sample], np.random.Generator], Iterator[Spoilt]]
    """At most `DRAWS` tries to spoil a sample's response, among all samples."""


def corrupt(
    samples: list[Sample], share: float, seed: int, kind: str = "exchanged"
) -> tuple[list[Sample], list[Corrupted]]:
    """The samples, round(share · N) of them with a response that differs from theirs, and what was done.

    Who is hit is decided by each sample's id and the seed, among those that can be; with what by the seed. The id of a
    corrupted sample is that of its new text.
    """
    count = round(share * len(samples))
    if not 0 < count < len(samples):
        raise UserError(
            f"dataset.corrupt={share}: {count} of {len(samples)} training samples; expected some and not all"
        )
    able = [sample for sample in samples if CORRUPTIONS[kind].possible(sample)]
    if len(able) < count:
        raise UserError(
            f"dataset.corrupt={share}: {count} of {len(samples)} training responses, of which {len(able)} can be "
            f"{kind}; lower it or choose another dataset.corrupt_kind"
        )
    order = sorted(able, key=lambda sample: (uniform(sample.id, f"corrupt {seed}"), sample.id))
    hit = {sample.id for sample in order[:count]}
    rng = np.random.default_rng(seed)
    taken, result, spoilt = {sample.id for sample in samples}, [], []
    for sample in samples:
        if sample.id in hit:
            output, donor = _different(CORRUPTIONS[kind].tries(sample, samples, rng), sample, taken, share)
            was, sample = sample.id, replace(sample, id=_id(sample, output), output=output)
            spoilt.append(Corrupted(sample.id, was, donor))
            taken.add(sample.id)
        result.append(sample)
    return sorted(result, key=lambda s: s.id), spoilt


def _different(found: Iterable[Spoilt], sample: Sample, taken: set[str], share: float) -> Spoilt:
    """The first response that is not the sample's own and makes no sample that is there."""
    for output, donor in found:
        if output != sample.output and _id(sample, output) not in taken:
            return output, donor
    raise UserError(
        f"dataset.corrupt={share}: {DRAWS} responses drawn for sample {sample.id} were all its own; use more varied "
        "data"
    )


def _id(sample: Sample, output: str | list[str]) -> str:
    return sample_id(sample.instruction, sample.input, output, sample.system)


def _exchanged(sample: Sample, samples: list[Sample], rng: np.random.Generator) -> Iterator[Spoilt]:
    for i in rng.integers(len(samples), size=DRAWS):
        yield samples[i].output, samples[i].id


def _truncated(sample: Sample, samples: list[Sample], rng: np.random.Generator) -> Iterator[Spoilt]:
    def shortened(text: str) -> str:
        words = text.split()
        return " ".join(words[: rng.integers(1, max(1, len(words) // 2) + 1)])

    for _ in range(DRAWS):
        yield _each(sample, shortened), None


def _garbled(sample: Sample, samples: list[Sample], rng: np.random.Generator) -> Iterator[Spoilt]:
    def mixed(word: re.Match[str]) -> str:
        return "".join(rng.permutation(list(word[0])))

    for _ in range(DRAWS):
        yield _each(sample, lambda text: re.sub(r"\S+", mixed, text)), None


def _each(sample: Sample, spoil: Callable[[str], str]) -> str | list[str]:
    return [spoil(text) for text in sample.output] if isinstance(sample.output, list) else spoil(sample.output)


def _has_words(sample: Sample) -> bool:
    return all(len(text.split()) > 1 for text in sample.references)


def _has_different_characters(sample: Sample) -> bool:
    return any(len(set(word)) > 1 for text in sample.references for word in text.split())


CORRUPTIONS = {
    "exchanged": Corruption(lambda sample: True, _exchanged),
    "truncated": Corruption(_has_words, _truncated),
    "garbled": Corruption(_has_different_characters, _garbled),
}
"""By `dataset.corrupt_kind`."""
