"""Scores of one answer against its references. Pure functions."""

import re
import string
from functools import cache


@cache
def _scorer():
    """One rouge-score scorer for all calls: making it costs more than using it."""
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(prediction: str, references: list[str]) -> float:
    """ROUGE-L F-measure in [0, 1] by rouge-score with its stemmer, best over the references (Lin 2004).

    Its tokens are runs of [a-z0-9], so text in other scripts scores 0.
    """
    return max(_scorer().score(reference, prediction)["rougeL"].fmeasure for reference in references)


def exact_match(prediction: str, references: list[str]) -> float:
    """1.0 where the prediction equals a reference after lower-casing and dropping punctuation and extra white space."""
    return float(any(_plain(prediction) == _plain(reference) for reference in references))


def _plain(text: str) -> str:
    return " ".join(re.sub(f"[{re.escape(string.punctuation)}]", "", text.lower()).split())
