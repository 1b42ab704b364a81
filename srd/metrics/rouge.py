"""ROUGE-L of an answer against its references, equal to rouge-score to the last bit."""

import string
from functools import cache, lru_cache

from rapidfuzz.distance import LCSseq

WORDS = bytes(code if chr(code) in string.ascii_lowercase + string.digits else ord(" ") for code in range(256))
"""What is left of ASCII text where only runs of [a-z0-9] count."""


class _Stems(dict[bytes, str]):
    """Words to rouge-score's stems (NLTK's Porter stemmer, of words over three characters), each stemmed once: texts
    share most words."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = PorterStemmer().stem

    def __missing__(self, word: bytes) -> str:
        # No suffix that the stemmer knows has a digit in it.
        self[word] = word.decode() if len(word) <= 3 or word.isdigit() else self.stem(word.decode())
        return self[word]


@cache
def _stems() -> _Stems:
    return _Stems()


@lru_cache(maxsize=1 << 16)
def _tokens(text: str) -> list[str]:
    """rouge-score's tokens: the stems of lower-cased runs of [a-z0-9]."""
    # Bytes, because a table and a split are several times as fast on them as a regular expression on the text.
    return [*map(_stems().__getitem__, text.lower().encode("ascii", "replace").translate(WORDS).split())]


def forget() -> None:
    """Let go of the words and texts that were met, for a measurement that is to begin with none."""
    _stems.cache_clear()
    _tokens.cache_clear()


def rouge_l(prediction: str, references: list[str]) -> float:
    """ROUGE-L F-measure in [0, 1], best over the references (Lin 2004): that of rouge-score with its stemmer, to the
    last bit.

    Its tokens are runs of [a-z0-9], so text in other scripts scores 0.
    """
    return max(_f_measure(_tokens(prediction), _tokens(reference)) for reference in references)


def _f_measure(prediction: list[str], reference: list[str]) -> float:
    """Harmonic mean of the longest common subsequence's share in either text; 0 where it is empty."""
    common = LCSseq.similarity(prediction, reference)
    if common == 0:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def rouge_sees(references: list[str]) -> bool:
    """Whether ROUGE-L has something to compare: most letters and digits of some reference are those of its tokens."""
    return any(_is_mostly_ascii(reference) for reference in references)


def _is_mostly_ascii(text: str) -> bool:
    # Half, because a number or a name in Latin letters amid another script would let everything else go unseen.
    signs = [sign for sign in text if sign.isalnum()]
    return bool(signs) and 2 * sum(map(str.isascii, signs)) >= len(signs)
