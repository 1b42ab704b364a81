"""evaluate: a checkpoint answers a suite's prompts; every prediction is kept with its scores. Windows of text are read
alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srd.config import Generation, Pair, Text
from srd.distillation.reference import reference_nll
from srd.generation.answerer import Answerer
from srd.metrics import METRICS, blind_share, metrics_of
from srd.stages.answering import fill_answers
from srd.stages.costs import reading_counts, scoring_counts
from srd.stages.inputs import Loaded, read_model, read_samples
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick, block, fill
from srd.store.rows import Sample, Score
from srd.text.encoding import Encoded, encode_all


@dataclass
class Settings:
    """What decides the scores."""

    target: str
    """teacher, student (before distillation) or distill."""
    suite: str
    text: Text
    generation: Generation | None = None
    """None: the suite's rows are windows of text."""
    seeds: list[int] = field(default_factory=lambda: [0])
    sampler: str = "transformers"
    """Who draws."""
    teacher: dict[str, Any] | None = None
    """Identity of the teacher's weights, where it is scored."""
    student: dict[str, Any] | None = None
    """Identity of the student's weights before distillation."""
    checkpoint: str = "best"
    """Distilled weights: best or last."""


@dataclass(frozen=True)
class Question:
    """A prompt to be answered under a seed."""

    seed: int
    sample: Sample
    row: Encoded


def make(work: Work[Settings, Pair]) -> None:
    """Leave `scores.jsonl`."""
    settings = work.settings
    if "checkpoint" in work.inputs:
        work.inputs["checkpoint"] = distilled_weights(work.inputs["checkpoint"], settings.checkpoint)
    role = "student" if settings.target == "distill" else settings.target
    loaded = read_model(work, role, settings.teacher or settings.student or {})
    samples = read_samples(work, "test")
    if settings.generation is None:
        _read_windows(work, loaded, encode_all(samples, loaded.tokenizer, settings.text))
    else:
        _answer_prompts(work, loaded, samples, settings.generation)


def _read_windows(work: Work[Settings, Pair], loaded: Loaded, rows: list[Encoded]) -> None:
    """The likelihood of every window, without an answer."""

    def compute(batch: list[Encoded], tick: Tick) -> tuple[list[Score], Counts]:
        losses = reference_nll(loaded.model, batch, loaded.tokenizer, work.engine)
        tick(len(batch))
        scores = [
            Score(work.settings.suite, row.id, 0, "", {}, nll, 0, False) for row, nll in zip(batch, losses, strict=True)
        ]
        return scores, reading_counts(batch, [loaded.parameters])

    fill(work, "scores.jsonl", rows, block(work.engine), compute, _order, lambda row: row.num_tokens)


def _answer_prompts(work: Work[Settings, Pair], loaded: Loaded, samples: list[Sample], generation: Generation) -> None:
    """Answers to every prompt under every seed, and the likelihood of its reference."""
    settings = work.settings
    work.ledger["blind"] = {name: blind_share(name, samples) for name in METRICS}
    rows = encode_all(samples, loaded.tokenizer, settings.text)
    questions = [Question(seed, *pair) for seed in settings.seeds for pair in zip(samples, rows, strict=True)]
    questions.sort(key=lambda asked: (-len(asked.row.prompt), asked.sample.id, asked.seed))

    def compute(answer: Answerer, batch: list[Question], tick: Tick) -> tuple[list[Score], Counts]:
        encoded = [asked.row for asked in batch]
        answers = answer(encoded, generation, [asked.seed for asked in batch], tick)
        losses = reference_nll(loaded.model, encoded, loaded.tokenizer, work.engine)
        scores = [
            Score(
                task=settings.suite,
                id=asked.sample.id,
                seed=asked.seed,
                prediction=a.text,
                metrics=metrics_of(a.text, asked.sample),
                nll=nll,
                tokens=a.tokens,
                cut=a.cut,
            )
            for asked, a, nll in zip(batch, answers, losses, strict=True)
        ]
        return scores, scoring_counts(encoded, sum(a.tokens for a in answers), loaded.parameters)

    fill_answers(work, "scores.jsonl", loaded, questions, lambda asked: asked.row, compute, _order)


def _order(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["task"], row["id"], row["seed"]


def distilled_weights(folder: Path, which: str) -> Path:
    """The folder of the distilled weights: the best by the dev split, or those of the last phase."""
    if which == "best":
        return folder / "best"
    return max(folder.glob("phase-*"), key=lambda path: int(path.name.removeprefix("phase-")))
