"""Exact match of an answer with its references."""

import unicodedata

KEPT = frozenset("#%&@/\\-")
"""Punctuation that says something where it stands beside a word: 5% is not 5, -3 is not 3, #1 is not 1."""


def exact_match(prediction: str, references: list[str]) -> float:
    """1.0 where the prediction equals a reference, but for case, white space and the punctuation around words.

    Inside a word nothing is dropped, nor are a number's sign, point, comma or unit: 3.14, 314, 3,14, -3.14, 3.14% and
    $3.14 are six answers. A text without a letter or digit is compared as it stands. Articles count.
    """
    return float(any(_plain(prediction) == _plain(reference) for reference in references))


def _plain(text: str) -> str:
    # Letters with their accents as one sign; a minus, which only looks another, as the one on the keyboard.
    words = unicodedata.normalize("NFC", text).replace("\N{MINUS SIGN}", "-").lower().split()
    if not any(character.isalnum() for word in words for character in word):
        return " ".join(words)
    return " ".join(filter(None, map(_bare, words)))


def _bare(word: str) -> str:
    """A word without the punctuation around it; nothing where it is only that."""
    begin, end = 0, len(word)
    while begin < end and _drops(word[begin]) and not (word[begin] in ".," and word[begin + 1 : begin + 2].isdigit()):
        begin += 1
    while end > begin and _drops(word[end - 1]):
        end -= 1
    return word[begin:end]


def _drops(character: str) -> bool:
    # Symbols (+, =, <, $, €) are no punctuation to Unicode and stay.
    return unicodedata.category(character).startswith("P") and character not in KEPT
