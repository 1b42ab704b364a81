"""The cost ledger's formulas, each once; `srd plan` counts with the same.

FLOPs are estimates: 2 a parameter and token of a forward pass, 6 a parameter and token trained on (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1).
"""

from srd.store.partial import Counts
from srd.text.encoding import Encoded
from srd.training.state import Counters
from srd.training.student_data import StudentResponses


def forward_flops(parameters: float, tokens: float) -> float:
    """Of reading or writing `tokens`."""
    return 2 * parameters * tokens


def training_flops(parameters: float, tokens: float) -> float:
    """Of a forward and a backward pass over `tokens`."""
    return 6 * parameters * tokens


def training_ledger(counters: Counters, flops: float) -> dict[str, float]:
    """The cost of a training run: passes, tokens, estimated FLOPs."""
    return {
        "steps": counters.step,
        "sample_passes": counters.sample_passes,
        "training_tokens": counters.tokens,
        "supervised_tokens": counters.supervised_tokens,
        "corpus_tokens": counters.corpus_tokens,
        "flops": flops,
    }


def distillation_ledger(
    counters: Counters, on_policy: StudentResponses | None, student: int, online_teacher: int, select_by: str
) -> dict[str, object]:
    """The cost of distillation, given the parameters of the student and of a teacher that reads every batch itself (0
    for one on disk) and the metric that chose: the student trains on every token, the teacher reads those with a
    divergence."""
    c, written = counters, on_policy.generated_tokens if on_policy is not None else 0
    flops = training_flops(student, c.tokens + c.corpus_tokens)
    flops += forward_flops(online_teacher, c.tokens) + forward_flops(student, written)
    best = {select_by: c.best_score, "nll": c.best_nll, "phase": c.best_phase, "epoch": c.best_epoch}
    return {**training_ledger(c, flops), "generated_tokens": written, "best": best}


def answering_counts(rows: list[Encoded], generated: int, parameters: int) -> Counts:
    """The cost of answering `rows`: one forward pass over the prompts and what was written."""
    tokens = sum(len(row.prompt) for row in rows) + generated
    flops = forward_flops(parameters, tokens)
    return {"scoring_passes": len(rows), "generated_tokens": generated, "flops": flops}


def scoring_counts(rows: list[Encoded], generated: int, parameters: int) -> Counts:
    """The cost of answering `rows` and scoring their references: two forward passes over prompts, one over the rest."""
    prompts, references = sum(len(row.prompt) for row in rows), sum(row.num_supervised for row in rows)
    return {
        "scoring_passes": len(rows),
        "generated_tokens": generated,
        "scored_tokens": references,
        "flops": forward_flops(parameters, 2 * prompts + references + generated),
    }


def reading_counts(rows: list[Encoded], readers: list[int]) -> Counts:
    """The cost of one forward pass over `rows`, prompts with references, by models of so many parameters each."""
    tokens, references = sum(row.num_tokens for row in rows), sum(row.num_supervised for row in rows)
    return {
        "scoring_passes": len(rows) * len(readers),
        "scored_tokens": references * len(readers),
        "flops": sum(forward_flops(parameters, tokens) for parameters in readers),
    }
