"""BLEU and chrF by sacrebleu: of one answer, to rank and to choose by, and of a corpus, for the report.

A corpus' score is no mean of its sentences': it is computed of sums over them, which every scored answer keeps.

Axes: K sums, R training runs, I sample ids.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that set no spaces between words, by how Unicode's names of their letters begin."""


@dataclass(frozen=True)
class OfCorpus:
    """How a metric is taken of many answers together."""

    sums: Callable[[str, list[str]], list[float]]
    """What one answer with its references adds [K]."""
    score: Callable[[np.ndarray], np.ndarray]
    """Of sums [K, R, I] the scores [R, I], unscaled."""
    signature: Callable[[], str]
    """How it is computed, as the package states it."""


@cache
def _metric(name: str, is_sentence: bool = False) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    # Of one sentence without any 4-gram BLEU counts the orders that there are, as sacrebleu advises.
    return BLEU(effective_order=is_sentence) if name == "bleu" else CHRF()


def bleu(answer: str, references: list[str]) -> float:
    """Sentence BLEU in [0, 1], smoothed, of the orders that the answer has (Papineni et al. 2002; Post 2018)."""
    return float(_metric("bleu", is_sentence=True).sentence_score(answer, references).score) / 100


def chrf(answer: str, references: list[str]) -> float:
    """Sentence chrF in [0, 1]: character n-grams up to 6, β = 2 (Popović 2015)."""
    return float(_metric("chrf").sentence_score(answer, references).score) / 100


def bleu_sees(references: list[str]) -> bool:
    """Whether BLEU has words to compare: most letters of some reference are of a script with spaces between words."""
    return any(_is_spaced(reference) for reference in references)


def _is_spaced(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    return 2 * sum(unicodedata.name(sign, "").startswith(UNSPACED) for sign in letters) <= len(letters)


def of_corpus(name: str) -> OfCorpus:
    """OfCorpus BLEU or chrF."""

    def sums(answer: str, references: list[str]) -> list[float]:
        (found,) = _metric(name)._extract_corpus_statistics([answer], [[each] for each in references])
        return [int(each) for each in found]

    def score(sums: np.ndarray) -> np.ndarray:
        # sacrebleu asks for whole numbers and indexes lists.
        scores = [
            _metric(name)._compute_score_from_stats(each.astype(int).tolist()).score / 100 for each in columns(sums)
        ]
        return np.array(scores).reshape(sums.shape[1:])

    def columns(sums: np.ndarray) -> np.ndarray:
        return sums.reshape(len(sums), -1).T

    def signature() -> str:
        metric = _metric(name)
        metric.num_refs = -1  # as many as each sample has
        return f"{name}|{metric.get_signature()}"

    return OfCorpus(sums, score, signature)
