"""samples: raw rows to samples with ids and splits; what cannot be used is counted."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from srd.config import WARMUP, Dataset
from srd.datasets import DATASETS
from srd.errors import UserError
from srd.runtime.progress import say
from srd.stages.noise import corrupt
from srd.store.artefacts import Work
from srd.store.rows import SPLITS, Sample, sample_id, write_rows

PRECEDENCE = ("test", "dev", "train", WARMUP)
"""Which split keeps a row that several have."""
TEST_FIELDS = ("tests", "setup", "entry_point")
"""What a row may have besides, where its answers are code."""


@dataclass
class Settings:
    """What decides the samples."""

    name: str
    source: dict[str, Any]
    """Identity of the raw data, as its loader says."""
    limit: int | None = None
    dev_samples: int | None = None
    test_samples: int | None = None
    warmup_samples: int | None = None
    corrupt: float = 0.0
    corrupt_seed: int = 0
    corrupt_kind: str = "exchanged"
    strict: bool = False


def make(work: Work[Settings, Dataset]) -> None:
    """Leave `samples.jsonl`, and `corrupted.jsonl` where responses were spoilt."""
    settings = work.settings
    loaded = DATASETS[settings.name].load(work.context)
    raw = [row for row in loaded if row["split"] != WARMUP or settings.warmup_samples is not None]
    samples, skipped = clean(raw, settings.strict)
    empty = sum(0 < len(_spoken(row["output"])) < len(row["output"]) for row in raw if isinstance(row["output"], list))
    held_out = {"test": settings.test_samples, "dev": settings.dev_samples, WARMUP: settings.warmup_samples}
    splits = split(samples, settings.limit, **held_out)
    if settings.corrupt > 0:
        noise = (settings.corrupt, settings.corrupt_seed, settings.corrupt_kind)
        splits["train"], spoilt = corrupt(splits["train"], *noise)
        work.leaves.add("corrupted.jsonl")
        write_rows(work.path / "corrupted.jsonl", spoilt)
        say(f"{settings.name}: {len(spoilt)} training responses are {settings.corrupt_kind}")
        work.ledger["corrupted"] = len(spoilt)
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

    A row of the training split that repeats one of dev or test is skipped there, one for the warm start that repeats
    any. With `strict` the
    first such row is a `UserError` with its place.
    """
    rows = sorted(raw, key=lambda row: PRECEDENCE.index(row["split"]))
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
        tested = {key: row[key] for key in TEST_FIELDS if key in row}
        samples[id] = Sample(id, row["instruction"], row["input"], output, row["split"], system, **tested)
    return list(samples.values()), skipped


def _spoken(output: str | list[str]) -> list[str]:
    return [text for text in (output if isinstance(output, list) else [output]) if text.strip()]


def repeats(training: list[Sample], held_out: list[Sample]) -> int:
    """How many held-out prompts are training prompts, white space aside; a document has none."""
    trained = {_prompt(sample) for sample in training}
    return sum(_prompt(sample) in trained for sample in held_out if any(_prompt(sample)))


def _prompt(sample: Sample) -> tuple[str, ...]:
    return tuple(" ".join(text.split()) for text in (sample.system, sample.instruction, sample.input))


def split(samples: list[Sample], limit: int | None = None, **sizes: int | None) -> dict[str, list[Sample]]:
    """Samples by split, each in order of id; the splits with `sizes` are cut from train, in their order, where the
    source has none.

    Ids are hashes of the text, so "the first so many by id" is a random choice that stays the same
    when rows are added or reordered.
    """
    splits = {name: sorted((s for s in samples if s.split == name), key=lambda s: s.id) for name in SPLITS}
    for name, size in sizes.items():
        if splits[name] or size is None:
            splits[name] = splits[name][:size]
        else:
            held, splits["train"] = splits["train"][:size], splits["train"][size:]
            splits[name] = [replace(s, split=name) for s in held]
    splits["train"] = splits["train"][:limit]
    return splits
