"""samples: raw rows to samples with ids and splits; what cannot be used is counted."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from srd.config import Dataset
from srd.datasets import DATASETS
from srd.errors import UserError
from srd.runtime.progress import say
from srd.selection.ranking import uniform
from srd.store.artefacts import Work
from srd.store.rows import SPLITS, Corrupted, Sample, sample_id, write_rows

DRAWS = 1000
"""Tries to find a different response."""


@dataclass
class Settings:
    """What decides the samples."""

    name: str
    source: dict[str, Any]
    """Identity of the raw data, as its loader says."""
    limit: int | None = None
    dev_samples: int | None = None
    test_samples: int | None = None
    corrupt: float = 0.0
    corrupt_seed: int = 0
    strict: bool = False


def make(work: Work[Settings, Dataset]) -> None:
    """Leave `samples.jsonl`, and `corrupted.jsonl` where responses were exchanged."""
    settings = work.settings
    raw = list(DATASETS[settings.name].load(work.context))
    samples, skipped = clean(raw, settings.strict)
    empty = sum(0 < len(_spoken(row["output"])) < len(row["output"]) for row in raw if isinstance(row["output"], list))
    splits = split(samples, settings.limit, settings.dev_samples, settings.test_samples)
    if settings.corrupt > 0:
        splits["train"], exchanged = corrupt(splits["train"], settings.corrupt, settings.corrupt_seed)
        work.leaves.add("corrupted.jsonl")
        write_rows(work.path / "corrupted.jsonl", exchanged)
        say(f"{settings.name}: {len(exchanged)} training samples have another's response")
        work.ledger["corrupted"] = len(exchanged)
    work.leaves.add("samples.jsonl")
    write_rows(work.path / "samples.jsonl", [sample for name in SPLITS for sample in splits[name]])
    counts = {name: len(splits[name]) for name in SPLITS}
    say(f"{settings.name}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if any(skipped.values()):
        say(f"{settings.name}: skipped " + ", ".join(f"{count} {why}" for why, count in skipped.items() if count))
    if empty:
        say(f"{settings.name}: {empty} samples have empty references beside others; the others alone are kept")
    repeated = {name: repeats(splits["train"], splits[name]) for name in ("dev", "test")}
    for name, count in repeated.items():
        if count:
            told = f"{count} of {counts[name]} {name} prompts are training prompts as well, answered otherwise"
            say(f"{settings.name}: {told}")
    work.ledger |= {"samples": counts, "skipped": skipped, "empty_references": empty, "training_prompts": repeated}


def clean(raw: Iterable[dict[str, Any]], strict: bool) -> tuple[list[Sample], dict[str, int]]:
    """Samples with ids, without empty responses and repeats, and the counts of what was skipped.

    Of several references the empty ones go, because the first is trained on.

    A row of the training split that repeats one of dev or test is skipped there. With `strict` the
    first such row is a `UserError` with its place.
    """
    rows = sorted(raw, key=lambda row: SPLITS.index(row["split"]), reverse=True)
    skipped = {"with an empty response": 0, "duplicates": 0}
    samples: dict[str, Sample] = {}
    for row in rows:
        spoken, why = _spoken(row["output"]), None
        output = spoken if isinstance(row["output"], list) else row["output"]
        system = row.get("system", "")
        id = sample_id(row["instruction"], row["input"], output, system)
        if not spoken:
            why = "with an empty response"
        elif id in samples:
            why = "duplicates"
        if why is not None and strict:
            raise UserError(
                f"{row['where']}: row {why.replace('duplicates', 'is a duplicate')} (dataset.strict=true); "
                "mend the file or set dataset.strict=false to skip such rows"
            )
        if why is not None:
            skipped[why] += 1
            continue
        samples[id] = Sample(id, row["instruction"], row["input"], output, row["split"], system)
    return list(samples.values()), skipped


def _spoken(output: str | list[str]) -> list[str]:
    return [text for text in (output if isinstance(output, list) else [output]) if text.strip()]


def repeats(training: list[Sample], held_out: list[Sample]) -> int:
    """How many held-out prompts are training prompts, white space aside; a document has none."""
    trained = {_prompt(sample) for sample in training}
    return sum(_prompt(sample) in trained for sample in held_out if any(_prompt(sample)))


def _prompt(sample: Sample) -> tuple[str, ...]:
    return tuple(" ".join(text.split()) for text in (sample.system, sample.instruction, sample.input))


def split(
    samples: list[Sample], limit: int | None = None, dev_samples: int | None = None, test_samples: int | None = None
) -> dict[str, list[Sample]]:
    """Samples by split, each in order of id; dev and test are cut from train where the source has none.

    Ids are hashes of the text, so "the first so many by id" is a random choice that stays the same
    when rows are added or reordered.
    """
    splits = {name: sorted((s for s in samples if s.split == name), key=lambda s: s.id) for name in SPLITS}
    for name, size in (("test", test_samples), ("dev", dev_samples)):
        if splits[name] or size is None:
            splits[name] = splits[name][:size]
        else:
            held, splits["train"] = splits["train"][:size], splits["train"][size:]
            splits[name] = [replace(s, split=name) for s in held]
    splits["train"] = splits["train"][:limit]
    return splits


def corrupt(samples: list[Sample], share: float, seed: int) -> tuple[list[Sample], list[Corrupted]]:
    """The samples, round(share · N) of them with another one's (different) response, and what was exchanged.

    Who is hit is decided by each sample's id and the seed, whose response it gets by the seed. The id
    of a corrupted sample is that of its new text.
    """
    count = round(share * len(samples))
    if not 0 < count < len(samples):
        raise UserError(
            f"dataset.corrupt={share}: {count} of {len(samples)} training samples; expected some and not all"
        )
    hit = {sample.id for sample in sorted(samples, key=lambda s: (uniform(s.id, f"corrupt {seed}"), s.id))[:count]}
    rng = np.random.default_rng(seed)
    taken, result, exchanged = {sample.id for sample in samples}, [], []
    for sample in samples:
        if sample.id in hit:
            donors = (samples[i] for i in rng.integers(len(samples), size=DRAWS))
            donor = next((d for d in donors if d.output != sample.output and _id(sample, d) not in taken), None)
            if donor is None:
                raise UserError(
                    f"dataset.corrupt={share}: {DRAWS} responses drawn for sample {sample.id} were all its own; use "
                    "more varied data"
                )
            exchanged.append(Corrupted(_id(sample, donor), sample.id, donor.id))
            sample = replace(sample, id=_id(sample, donor), output=donor.output)
            taken.add(sample.id)
        result.append(sample)
    return sorted(result, key=lambda s: s.id), exchanged


def _id(sample: Sample, donor: Sample) -> str:
    return sample_id(sample.instruction, sample.input, donor.output, sample.system)
