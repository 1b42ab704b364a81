"""Documents to windows of tokens: one stream of ids, cut every so many.

As SE-KD packs its corpus (arXiv 2602.01395 and its code): documents with an EOS behind each, one after the other;
attention is not reset between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from srd.text.control import Ids
from srd.text.encoding import eos_id, opening, text_encoder


@dataclass(frozen=True)
class PackedWindow:
    """Ids of a window, and the places in it where a document begins behind another one: nothing there is learned, for
    what was before says nothing of it."""

    ids: list[int]
    borders: list[int]


@dataclass
class Packer:
    """Cuts documents into windows of `max_tokens`, in the order that they are given in."""

    max_tokens: int
    left: list[int] = field(default_factory=list)
    """Ids that no window has yet: what is dropped where nothing comes any more."""
    begins: list[int] = field(default_factory=list)
    """Where in them documents begin."""

    def add(self, document: list[int]) -> Iterator[PackedWindow]:
        """The windows that are full with one more document (its ids, EOS included)."""
        self.begins.append(len(self.left))
        self.left += document
        start, size = 0, self.max_tokens
        for start in range(0, len(self.left) - size + 1, size):
            places = [begin - start for begin in self.begins if start < begin < start + size]
            yield PackedWindow(self.left[start : start + size], places)
        end = len(self.left) // size * size
        self.left = self.left[end:]
        self.begins = [begin - end for begin in self.begins if begin >= end]


def document_encoder(tokenizer: PreTrainedTokenizerBase) -> Ids:
    """From a document to its ids, as the tokenizer begins a text (BOS, or nothing), with EOS at the end; nothing where
    the text has no token."""
    encode, begin, end = text_encoder(tokenizer), opening(tokenizer), eos_id(tokenizer)

    def ids(text: str) -> list[int]:
        found = encode(text)
        return [*begin, *found, end] if found else []

    return ids
