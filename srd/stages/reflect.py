"""reflect: the student answers every training prompt, and its loss on the reference is taken beside."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Config, Engine, Reflect
from srd.distillation.reference import reference_nll
from srd.generation.answerer import Answerer, answerer
from srd.metrics.rouge import rouge_l
from srd.models.load import load_model, load_tokenizer, num_parameters
from srd.stages.costs import count_tokens
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick, block, fill
from srd.store.rows import Reflection, Sample
from srd.text.encoding import Encoded, longest_first

Pair = tuple[Sample, Encoded]


def reflect(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: list[Pair],
    settings: Reflect,
    answers: Answerer,
    engine: Engine,
    tick: Tick = lambda rows: None,
) -> list[Reflection]:
    """A reflection for every sample: the answer, its ROUGE-L, the reference's NLL (EOS included, nats per token)."""
    samples, rows = [sample for sample, _ in batch], [row for _, row in batch]
    given = answers(rows, settings.generation, [settings.seed] * len(rows), tick)
    losses = reference_nll(model, rows, tokenizer, engine)
    return [
        Reflection(sample.id, answer.text, rouge_l(answer.text, sample.references), nll, answer.tokens)
        for sample, answer, nll in zip(samples, given, losses, strict=True)
    ]


def make(cfg: Config, work: Work) -> None:
    tokenizer = load_tokenizer(cfg, work.inputs)
    model = load_model(cfg, "student", work.inputs, tokenizer)
    pairs = longest_first(read_samples(work, "train"), tokenizer, cfg.model)

    def compute(batch: list[Pair], tick: Tick) -> tuple[list[Reflection], Counts]:
        rows = reflect(model, tokenizer, batch, cfg.reflect, answers, cfg.engine, tick)
        return rows, count_tokens([row for _, row in batch], sum(row.tokens for row in rows), num_parameters(model))

    max_tokens = cfg.model.max_prompt_tokens + cfg.reflect.generation.max_new_tokens
    with answerer(model, tokenizer, cfg.engine, max_tokens) as answers:
        fill(work, "reflections.jsonl", pairs, block(cfg.engine), compute, key=lambda row: row["id"])
