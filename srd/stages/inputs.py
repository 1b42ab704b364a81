"""What stages read from the artefacts before them."""

from pathlib import Path

from srd.errors import UserError
from srd.store.artefacts import Work
from srd.store.rows import Sample, read_rows


def read_samples(work: Work, split: str) -> list[Sample]:
    """The samples of one split of a stage's `samples` input; none is a `UserError`."""
    path = Path(work.inputs["samples"]) / "samples.jsonl"
    samples = [sample for sample in read_rows(path, Sample) if sample.split == split]
    if not samples:
        raise UserError(f"{path}: no {split} samples; use more data or set dataset.{split}_samples")
    return samples
