"""Exact match of an answer with its references."""

import re
import string


def exact_match(prediction: str, references: list[str]) -> float:
    """1.0 where the prediction equals a reference after lower-casing and dropping punctuation and extra white space."""
    return float(any(_plain(prediction) == _plain(reference) for reference in references))


def _plain(text: str) -> str:
    return " ".join(re.sub(f"[{re.escape(string.punctuation)}]", "", text.lower()).split())
