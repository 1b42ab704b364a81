"""ROUGE-1, ROUGE-2 and ROUGE-Lsum of an answer, by the package rouge-score with its stemmer (Lin 2004)."""

from functools import cache, lru_cache, partial
from typing import Any


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=True)


@lru_cache(maxsize=64)  # the kinds are asked for one after another of the same answer
def _scores(answer: str, reference: str) -> dict[str, Any]:
    return _scorer().score(reference, answer)


def _rouge(kind: str, answer: str, references: list[str]) -> float:
    """The F-measure of one kind in [0, 1], best over the references."""
    return max(float(_scores(answer, reference)[kind].fmeasure) for reference in references)


rouge_1 = partial(_rouge, "rouge1")
rouge_2 = partial(_rouge, "rouge2")
rouge_lsum = partial(_rouge, "rougeLsum")
"""Its sentences are lines, as rouge-score reads them: of texts of one line it is ROUGE-L."""
