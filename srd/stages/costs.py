"""The cost ledger's formulas, each once; `srd plan` counts with the same.

FLOPs are estimates: 2 a parameter and token of a forward pass, 6 a parameter and token trained on (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1). Of an encoder-decoder model a token of the prompt counts the parameters that it goes
through, and so does one of the response (`srd.models.load.Size`):

    forward pass = 2 · (P_prompt · prompt tokens + P_response · response tokens)
"""

from typing import TYPE_CHECKING

from srd.store.partial import Counts
from srd.text.encoding import Encoded
from srd.training.state import Counters
from srd.training.student_data import StudentResponses

if TYPE_CHECKING:
    from srd.models.load import Size


def forward_flops(parameters: float, tokens: float) -> float:
    """Of reading or writing `tokens`."""
    return 2 * parameters * tokens


def training_flops(parameters: float, tokens: float) -> float:
    """Of a forward and a backward pass over `tokens`."""
    return 6 * parameters * tokens


def reading_flops(parameters: "Size", prompts: float, responses: float) -> float:
    """Of a forward pass over tokens of prompts and of responses, or of writing the latter."""
    return forward_flops(parameters.prompt, prompts) + forward_flops(parameters.response, responses)


def learning_flops(parameters: "Size", counters: Counters) -> float:
    """Of all that was trained on."""
    prompts, responses = counters.tokens - counters.supervised_tokens, counters.supervised_tokens
    learned = responses + counters.corpus_tokens
    return training_flops(parameters.prompt, prompts) + training_flops(parameters.response, learned)


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
    counters: Counters,
    on_policy: StudentResponses | None,
    student: "Size",
    online_teacher: "Size | None",
    select_by: str,
) -> dict[str, object]:
    """The cost of distillation, given the parameters of the student and of a teacher that reads every batch itself
    (none for one on disk) and the metric that chose: the student trains on every token, the teacher reads those with a
    divergence."""
    c, written = counters, on_policy.generated_tokens if on_policy is not None else 0
    flops = learning_flops(student, c) + reading_flops(student, 0, written)
    if online_teacher is not None:
        flops += reading_flops(online_teacher, c.tokens - c.supervised_tokens, c.supervised_tokens)
    best = {select_by: c.best_score, "nll": c.best_nll, "phase": c.best_phase, "epoch": c.best_epoch}
    return {**training_ledger(c, flops), "generated_tokens": written, "best": best}


def answering_counts(rows: list[Encoded], generated: int, parameters: "Size") -> Counts:
    """The cost of answering `rows`: one forward pass over the prompts and what was written."""
    flops = reading_flops(parameters, sum(len(row.prompt) for row in rows), generated)
    return {"scoring_passes": len(rows), "generated_tokens": generated, "flops": flops}


def scoring_counts(rows: list[Encoded], generated: int, parameters: "Size") -> Counts:
    """The cost of answering `rows` and scoring their references: two forward passes over prompts, one over the rest."""
    prompts, references = sum(len(row.prompt) for row in rows), sum(row.num_supervised for row in rows)
    return {
        "scoring_passes": len(rows),
        "generated_tokens": generated,
        "scored_tokens": references,
        "flops": reading_flops(parameters, 2 * prompts, references + generated),
    }


def reading_counts(rows: list[Encoded], readers: list["Size"]) -> Counts:
    """The cost of one forward pass over `rows`, prompts with references, by models of so many parameters
    each."""
    tokens, references = sum(row.num_tokens for row in rows), sum(row.num_supervised for row in rows)
    return {
        "scoring_passes": len(rows) * len(readers),
        "scored_tokens": references * len(readers),
        "flops": sum(reading_flops(each, tokens - references, references) for each in readers),
    }
