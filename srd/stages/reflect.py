"""reflect: the student answers every training prompt, once or several times, and its loss on the reference is taken as
well."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from srd.config import Generation, Pair, Text
from srd.distillation.reference import reference_nll
from srd.generation.answerer import Answerer
from srd.generation.answers import Answer
from srd.metrics import blind_share, metrics_of
from srd.selection.ranking import REFLECTION_METRICS
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
    """One for every answer to a prompt."""
    sampler: str = "transformers"
    """Who draws."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave `reflections.jsonl`: the answers, their metrics, the reference's NLL (EOS included, nats per token)."""
    settings, loaded = work.settings, read_model(work, "student", work.settings.student)
    each = len(settings.seeds)

    def compute(answer: Answerer, batch: list[tuple[Sample, Encoded]], tick: Tick) -> tuple[list[Reflection], Counts]:
        samples, rows = [sample for sample, _ in batch], [row for _, row in batch]
        # The answers to a prompt stand side by side: whoever decodes reads it once for all of them.
        asked = [row for row in rows for _ in settings.seeds]
        answers = answer(asked, settings.generation, settings.seeds * len(rows), lambda done: tick(done / each))
        losses = reference_nll(loaded.model, rows, loaded.tokenizer, work.engine)
        reflections = [
            reflection(sample, answers[i * each : (i + 1) * each], losses[i]) for i, sample in enumerate(samples)
        ]
        return reflections, scoring_counts(rows, sum(a.tokens for a in answers), loaded.parameters)

    samples = read_samples(work, "train")
    work.ledger["blind"] = {name: blind_share(name, samples) for name in REFLECTION_METRICS}
    pairs = longest_first(samples, loaded.tokenizer, settings.text)
    fill_answers(work, "reflections.jsonl", loaded, pairs, lambda pair: pair[1], compute, answers=each)


def reflection(sample: Sample, answers: list[Answer], nll: float) -> Reflection:
    """The answers to a sample's prompt in one row, with the means of their metrics."""
    scores, tokens = [metrics_of(a.text, sample, REFLECTION_METRICS) for a in answers], sum(a.tokens for a in answers)
    if len(answers) == 1:
        return Reflection(sample.id, answers[0].text, scores[0], nll, tokens)
    by_answer = {name: [of_answer[name] for of_answer in scores] for name in REFLECTION_METRICS}
    means = {name: fmean(values) for name, values in by_answer.items()}
    return Reflection(sample.id, answers[0].text, means, nll, tokens, [a.text for a in answers[1:]], by_answer)
