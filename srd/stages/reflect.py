"""reflect: the student answers every training prompt, and its loss on the reference is taken as well."""

from dataclasses import dataclass
from typing import Any

from srd.config import Generation, Pair, Text
from srd.distillation.reference import reference_nll
from srd.generation.answerer import Answerer
from srd.metrics import blind_share, metrics_of
from srd.selection.ranking import reflected_metrics
from srd.stages.answering import fill_answers
from srd.stages.costs import scoring_counts
from srd.stages.inputs import read_model, read_samples
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick
from srd.store.rows import Reflection, Sample
from srd.text.encoding import Encoded, longest_first


@dataclass
class Settings:
    """What decides the reflections."""

    text: Text
    student: dict[str, Any]
    """Identity of its weights."""
    generation: Generation
    seeds: list[int]
    """One seed."""
    sampler: str = "transformers"
    """Who draws."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave `reflections.jsonl`: the answer, its metrics, the reference's NLL (EOS included, nats per token)."""
    settings, loaded = work.settings, read_model(work, "student", work.settings.student)

    def compute(answer: Answerer, batch: list[tuple[Sample, Encoded]], tick: Tick) -> tuple[list[Reflection], Counts]:
        samples, rows = [sample for sample, _ in batch], [row for _, row in batch]
        answers = answer(rows, settings.generation, settings.seeds * len(rows), tick)
        losses = reference_nll(loaded.model, rows, loaded.tokenizer, work.engine)
        reflections = [
            Reflection(sample.id, a.text, metrics_of(a.text, sample, reflected_metrics()), nll, a.tokens)
            for sample, a, nll in zip(samples, answers, losses, strict=True)
        ]
        return reflections, scoring_counts(rows, sum(a.tokens for a in answers), loaded.parameters)

    samples = read_samples(work, "train")
    work.ledger["blind"] = {name: blind_share(name, samples) for name in reflected_metrics()}
    pairs = longest_first(samples, loaded.tokenizer, settings.text)
    fill_answers(work, "reflections.jsonl", loaded, pairs, lambda pair: pair[1], compute)
