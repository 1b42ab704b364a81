"""answers: the teacher answers every training prompt; the answers are the data of sequence-level distillation."""

from srd.config import Config
from srd.generation.answerer import answerer
from srd.models.load import load_model, load_tokenizer, num_parameters
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick, block, fill
from srd.store.rows import Answered, Sample
from srd.text.encoding import Encoded, longest_first


def make(cfg: Config, work: Work) -> None:
    tokenizer = load_tokenizer(cfg, work.inputs)
    model = load_model(cfg, "teacher", work.inputs, tokenizer)

    def compute(batch: list[tuple[Sample, Encoded]], tick: Tick) -> tuple[list[Answered], Counts]:
        rows = [row for _, row in batch]
        answers = answer(rows, cfg.method.answers, [cfg.method.answers_seed] * len(rows), tick)
        generated = sum(given.tokens for given in answers)
        tokens = sum(len(row.prompt) for row in rows) + generated
        counts: Counts = {
            "scoring_passes": len(rows),
            "generated_tokens": generated,
            "flops": 2 * num_parameters(model) * tokens,
        }
        return [
            Answered(row.id, given.text, given.ids, given.cut) for row, given in zip(rows, answers, strict=True)
        ], counts

    pairs = longest_first(read_samples(work, "train"), tokenizer, cfg.model)
    max_tokens = cfg.model.max_prompt_tokens + cfg.method.answers.max_new_tokens
    with answerer(model, tokenizer, cfg.engine, max_tokens) as answer:
        fill(work, "answers.jsonl", pairs, block(cfg.engine), compute, key=lambda row: row["id"])
