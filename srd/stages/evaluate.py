"""evaluate: a checkpoint answers a suite's prompts; every prediction is kept with its scores."""

from dataclasses import dataclass, field
from typing import Any

from srd.config import Code, Evaluate, Generation, Pair
from srd.distillation.reference import reference_nll
from srd.generation.answerer import Answerer
from srd.metrics import blind_share, corpus_sums, metrics_of_all
from srd.stages.answering import fill_answers
from srd.stages.costs import scoring_counts
from srd.stages.inputs import embedder_of, read_samples
from srd.stages.scored import Scored, read_scored
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick
from srd.store.rows import Sample, Score
from srd.text.encoding import Encoded, encode_all


@dataclass(kw_only=True)
class Settings(Scored):
    """What decides the scores."""

    suite: str
    generation: Generation
    seeds: list[int]
    sampler: str = "transformers"
    """Who draws."""
    metrics: list[str] = field(default_factory=lambda: Evaluate().metrics)
    code: Code | None = None
    """How answers are executed, where a metric does."""
    encoder: dict[str, Any] | None = None
    """Identity of what they are read with, where a metric does."""


@dataclass(frozen=True)
class Question:
    """A prompt to be answered under a seed."""

    seed: int
    sample: Sample
    row: Encoded


def make(work: Work[Settings, Pair]) -> None:
    """Leave `scores.jsonl`."""
    settings, loaded = work.settings, read_scored(work)
    samples, embedder = read_samples(work, "test"), embedder_of(work, settings.encoder)
    work.ledger["blind"] = {name: blind_share(name, samples) for name in settings.metrics}
    rows = encode_all(samples, loaded.tokenizer, settings.text)
    questions = [Question(seed, *pair) for seed in settings.seeds for pair in zip(samples, rows, strict=True)]
    questions.sort(key=lambda asked: (-len(asked.row.prompt), asked.sample.id, asked.seed))

    def compute(answer: Answerer, batch: list[Question], tick: Tick) -> tuple[list[Score], Counts]:
        encoded = [asked.row for asked in batch]
        answers = answer(encoded, settings.generation, [asked.seed for asked in batch], tick)
        losses = reference_nll(loaded.model, encoded, loaded.tokenizer, work.engine)
        texts, asked_of = [a.text for a in answers], [asked.sample for asked in batch]
        metrics = metrics_of_all(texts, asked_of, settings.metrics, settings.code, embedder)
        scores = [
            Score(
                task=settings.suite,
                id=asked.sample.id,
                seed=asked.seed,
                prediction=a.text,
                metrics=scored,
                nll=nll,
                tokens=a.tokens,
                cut=a.cut,
                corpus=corpus_sums(a.text, asked.sample, settings.metrics),
            )
            for asked, a, nll, scored in zip(batch, answers, losses, metrics, strict=True)
        ]
        return scores, scoring_counts(encoded, sum(a.tokens for a in answers), loaded.parameters)

    fill_answers(work, "scores.jsonl", loaded, questions, lambda asked: asked.row, compute, _order)


def _order(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["task"], row["id"], row["seed"]
