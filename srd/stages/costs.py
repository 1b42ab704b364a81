"""The cost ledger's formulas, each once."""

from torch import nn
from transformers import PreTrainedModel

from srd.models.load import num_parameters
from srd.store.partial import Counts
from srd.text.encoding import Encoded
from srd.training.loop import Training
from srd.training.state import Counters
from srd.training.student_data import StudentResponses


def distillation_ledger(
    training: Training, on_policy: StudentResponses | None, student: nn.Module, teacher: PreTrainedModel | None
) -> dict[str, object]:
    """The cost of distillation: the student trains on every token, the teacher reads those with a divergence."""
    c, written = training.state.counters, on_policy.generated_tokens if on_policy is not None else 0
    learned, read = 6 * num_parameters(student), 0 if teacher is None else 2 * num_parameters(teacher)
    flops = learned * (c.tokens + c.corpus_tokens) + read * c.tokens + 2 * num_parameters(student) * written
    best = {"rouge_l": c.best_rouge_l, "phase": c.best_phase, "epoch": c.best_epoch}
    return {**training_ledger(c, flops), "generated_tokens": written, "best": best}


def training_ledger(counters: Counters, flops: int) -> dict[str, float]:
    """The cost of a training run: passes, tokens, seconds of the work that stands, estimated FLOPs."""
    return {
        "seconds": counters.seconds + counters.dev_seconds,
        "dev_seconds": counters.dev_seconds,
        "steps": counters.step,
        "sample_passes": counters.sample_passes,
        "training_tokens": counters.tokens,
        "supervised_tokens": counters.supervised_tokens,
        "corpus_tokens": counters.corpus_tokens,
        "flops": flops,
    }


def count_tokens(rows: list[Encoded], generated: int, parameters: int) -> Counts:
    """The cost of answering and scoring `rows`: two forward passes over prompts, one over the rest."""
    prompts, references = sum(len(row.prompt) for row in rows), sum(len(row.response) for row in rows)
    tokens = 2 * prompts + references + generated
    return {
        "scoring_passes": len(rows),
        "generated_tokens": generated,
        "scored_tokens": references,
        "flops": 2 * parameters * tokens,
    }
