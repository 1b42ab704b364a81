"""How many rows a run has and how long they are: as `plan.*` gives them, else measured on the samples."""

from dataclasses import dataclass
from pathlib import Path

from srd.config import WARMUP, Config, Pair
from srd.errors import UserError
from srd.models.load import load_tokenizer
from srd.store.rows import Sample, read_rows
from srd.text.encoding import Encoder

MEASURED = 4000
"""Samples whose lengths are measured: the stages tokenise all of them anyway, a plan need not."""


@dataclass(frozen=True)
class Lengths:
    """Mean tokens a row, and how many rows there are."""

    samples: int
    test_samples: dict[str, int]
    prompt: float
    response: float
    answer: float
    longest: int
    warmup: int = 0
    """Samples that are set aside for warm starts."""

    @property
    def total(self) -> float:
        return self.prompt + self.response


@dataclass(frozen=True)
class Folders:
    """Finished artefacts that lengths are measured on; none where `plan.*` says enough."""

    samples: Path | None
    tests: dict[str, Path]
    """Samples of a suite, by its name."""
    tokenizer: dict[str, Path]
    """The trained tokenizer as an input, if any."""
    pair: Pair
    """Where the tokenizers of given weights lie."""


def lengths_of(cfg: Config, folders: Folders) -> Lengths:
    """The lengths that a config's run has."""
    plan = cfg.plan
    tests = {name: plan.test_samples or _count(folders.tests[name], "test") for name in cfg.evaluate.suites}
    samples, prompt, response, longest = _measured(cfg, folders) if folders.samples else (0, 0.0, 0.0, 0)
    warmup = _count(folders.samples, WARMUP) if folders.samples else cfg.dataset.warmup_samples or 0
    samples, prompt = plan.samples or samples, plan.prompt_tokens or prompt
    response, longest = plan.response_tokens or response, longest or cfg.model.max_tokens
    return Lengths(samples, tests, prompt, response, plan.answer_tokens or response, longest, warmup)


def _count(folder: Path, split: str) -> int:
    return sum(sample.split == split for sample in read_rows(folder / "samples.jsonl", Sample))


def _measured(cfg: Config, folders: Folders) -> tuple[int, float, float, int]:
    """Rows, mean prompt and response tokens, and the longest row of the training samples; lengths of a few thousand
    stand for all."""
    assert folders.samples is not None
    path = folders.samples / "samples.jsonl"
    samples = [sample for sample in read_rows(path, Sample) if sample.split == "train"]
    if not samples:
        raise UserError(f"{folders.samples}: no train samples; use more data")
    tokenizer = load_tokenizer(folders.pair, folders.tokenizer)
    encoder = Encoder(tokenizer, cfg.model.text)
    rows = [encoder.encode(sample) for sample in samples[:: 1 + len(samples) // MEASURED]]
    prompts, responses = (sum(len(getattr(row, part)) for row in rows) / len(rows) for part in ("prompt", "response"))
    return len(samples), prompts, responses, max(row.num_tokens for row in rows)
