"""evaluate: a checkpoint answers a suite's prompts; every prediction is kept with its scores."""

from pathlib import Path

from srd.config import Config
from srd.distillation.reference import reference_nll
from srd.generation.answerer import answerer
from srd.metrics.matching import exact_match
from srd.metrics.rouge import rouge_l
from srd.models.load import load_model, load_tokenizer, num_parameters
from srd.stages.costs import count_tokens
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick, block, fill
from srd.store.rows import Sample, Score
from srd.text.encoding import Encoded, encode_all

Question = tuple[int, Sample, Encoded]


def make(cfg: Config, work: Work) -> None:
    settings = work.node.settings
    tokenizer = load_tokenizer(cfg, work.inputs)
    if "checkpoint" in work.inputs:
        work.inputs["checkpoint"] = checkpoint(work, settings["checkpoint"])
    model = load_model(
        cfg, "student" if settings["target"] == "distill" else settings["target"], work.inputs, tokenizer
    )
    samples = read_samples(work, "test")
    rows = encode_all(samples, tokenizer, cfg.model)
    questions = [(seed, sample, row) for seed in settings["seeds"] for sample, row in zip(samples, rows, strict=True)]
    questions.sort(key=lambda question: (-len(question[2].prompt), question[1].id, question[0]))
    task = settings["suite"]

    def compute(batch: list[Question], tick: Tick) -> tuple[list[Score], Counts]:
        encoded = [row for _, _, row in batch]
        answers = answer(encoded, cfg.evaluate.generation, [seed for seed, _, _ in batch], tick)
        losses = reference_nll(model, encoded, tokenizer, cfg.engine)
        scores = [
            Score(
                task,
                sample.id,
                seed,
                a.text,
                rouge_l(a.text, sample.references),
                exact_match(a.text, sample.references),
                nll,
                a.tokens,
                a.cut,
            )
            for (seed, sample, _), a, nll in zip(batch, answers, losses, strict=True)
        ]
        return scores, count_tokens(encoded, sum(a.tokens for a in answers), num_parameters(model))

    max_tokens = cfg.model.max_prompt_tokens + cfg.evaluate.generation.max_new_tokens
    with answerer(model, tokenizer, cfg.engine, max_tokens) as answer:
        fill(
            work,
            "scores.jsonl",
            questions,
            block(cfg.engine),
            compute,
            key=lambda row: (row["task"], row["id"], row["seed"]),
        )


def checkpoint(work: Work, which: str) -> Path:
    """The folder of the distilled weights: the best by dev ROUGE-L or those of the last phase."""
    folder = work.inputs["checkpoint"]
    return (
        folder / "best"
        if which == "best"
        else max(folder.glob("phase-*"), key=lambda path: int(path.name.removeprefix("phase-")))
    )
