"""answers: the teacher answers every training prompt; the answers are the data of sequence-level distillation."""

from dataclasses import dataclass
from typing import Any

from srd.config import Generation, Pair, Text
from srd.generation.answerer import Answerer
from srd.stages.answering import fill_answers
from srd.stages.costs import answering_counts
from srd.stages.inputs import read_model, read_samples
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick
from srd.store.rows import Answered, Sample
from srd.text.encoding import Encoded, longest_first


@dataclass
class Settings:
    """What decides the teacher's answers."""

    text: Text
    teacher: dict[str, Any]
    """Identity of its weights."""
    generation: Generation
    seeds: list[int]
    """One seed."""
    sampler: str = "transformers"
    """Who draws."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave `answers.jsonl`."""
    settings, loaded = work.settings, read_model(work, "teacher", work.settings.teacher)

    def compute(answer: Answerer, batch: list[tuple[Sample, Encoded]], tick: Tick) -> tuple[list[Answered], Counts]:
        rows = [row for _, row in batch]
        answers = answer(rows, settings.generation, settings.seeds * len(rows), tick)
        answered = [Answered(row.id, a.text, a.ids, a.cut) for row, a in zip(rows, answers, strict=True)]
        return answered, answering_counts(rows, sum(a.tokens for a in answers), loaded.parameters)

    pairs = longest_first(read_samples(work, "train"), loaded.tokenizer, settings.text)
    fill_answers(work, "answers.jsonl", loaded, pairs, lambda pair: pair[1], compute)
