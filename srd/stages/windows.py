"""windows: documents to windows of tokens, which are the samples of a data set of plain text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from srd.config import WARMUP, Pair
from srd.errors import UserError
from srd.models.load import load_tokenizer
from srd.runtime.progress import bar, say
from srd.store.artefacts import Work
from srd.store.rows import SPLITS, Sample, read_rows, sample_id, write_rows
from srd.text.packing import Packer, document_encoder


@dataclass
class Settings:
    """What decides the windows."""

    max_tokens: int
    """Of a window."""
    tokens: int | None = None
    """Of all training windows together, at most."""
    tokenizer: Any = None
    """Identity of the tokenizer of given weights; none: a trained one, which is an input."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave `samples.jsonl`: the windows of every split, made of its documents in order of their ids; says what was
    left over."""
    path = work.inputs["samples"] / "samples.jsonl"
    documents, tokenizer = read_rows(path, Sample), load_tokenizer(work.context, work.inputs)
    work.ledger |= {"samples": {}, "documents": {}, "dropped_tokens": {}}

    def rows() -> Iterator[Sample]:
        with bar("windows, documents", len(documents)) as advance:
            for split in SPLITS:
                of_split = [document for document in documents if document.split == split]
                if split == WARMUP and not of_split:  # which few data sets have
                    continue
                yield from _windows(work, split, of_split, tokenizer)
                advance(len(of_split))

    work.leaves.add("samples.jsonl")
    write_rows(work.path / "samples.jsonl", rows())
    if work.ledger["samples"]["train"] == 0:
        raise UserError(
            f"{path}: the training documents do not fill one window of model.max_tokens={work.settings.max_tokens}; "
            "use more text, hold less of it out (dataset.dev_samples, test_samples) or lower model.max_tokens"
        )


def _windows(
    work: Work[Settings, Pair], split: str, documents: list[Sample], tokenizer: PreTrainedTokenizerBase
) -> Iterator[Sample]:
    """The windows of one split, of the training split no more than the budget; counts them in the ledger."""
    settings = work.settings
    encode, packer = document_encoder(tokenizer), Packer(settings.max_tokens)
    most = settings.tokens // settings.max_tokens if split == "train" and settings.tokens is not None else None
    number = used = 0
    for document in documents:
        if number == most:
            break
        used += 1
        for window in packer.add(encode(document.references[0])):
            if number == most:
                break
            text = str(tokenizer.decode(window.ids))
            id = sample_id(split, str(number), " ".join(map(str, window.ids)))
            yield Sample(id, "", "", text, split, ids=window.ids, borders=window.borders or None)
            number += 1
    left = len(packer.left) if number != most else 0
    work.ledger["samples"][split], work.ledger["documents"][split] = number, used
    work.ledger["dropped_tokens"][split] = left
    said = f"{split}: {number:,} windows of {settings.max_tokens} tokens from {used:,} documents"
    if number == most:
        said += f", which fill dataset.tokens={settings.tokens}"
    elif most is not None:
        said += f", less than dataset.tokens={settings.tokens}: there is no more text"
    say(said + (f"; {left:,} tokens at the end are dropped" if left else ""))
