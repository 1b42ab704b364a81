"""Plain text for a language-modelling loss next to distillation, as in DistiLLM and MiniLLM."""

from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from srd.datasets.formats import read_objects
from srd.errors import UserError
from srd.runtime.progress import say
from srd.store.rows import sample_id
from srd.text.encoding import Encoded, opening, text_encoder


def read_corpus(path: str, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[Encoded]:
    """Every text of the file in rows of at most `max_tokens`, so that each of its tokens but the first is predicted
    once; the first token of a row, which is the last of the row before, is its prompt. Says what was left out."""
    encoder, begin = text_encoder(tokenizer), opening(tokenizer)
    rows: list[Encoded] = []
    texts = cut = short = 0
    for where, line in read_objects(Path(path).expanduser()):
        if not isinstance(line.get("text"), str):
            raise UserError(
                f"{where}: no column 'text' (columns: {', '.join(line)}); method.corpus.path needs rows like "
                f'{{"text": …}}'
            )
        ids = [*begin, *encoder(line["text"])]
        blocks = [ids[start : start + max_tokens] for start in range(0, len(ids) - 1, max_tokens - 1)]
        texts, cut, short = texts + 1, cut + (len(blocks) > 1), short + (not blocks)
        for number, block in enumerate(blocks):
            id = sample_id(line["text"], "", str(number) if number else "")
            rows.append(Encoded(id, block[:1], block[1:], False))
    if not rows:
        raise UserError(f'method.corpus.path={path}: no text of two tokens in it; expected rows like {{"text": …}}')
    if cut:
        say(f"{path}: {cut} of {texts} texts are over model.max_tokens={max_tokens}: read in blocks, {len(rows)} rows")
    if short:
        say(f"{path}: {short} of {texts} texts have fewer than two tokens and are left out")
    return rows


def corpus_rows(rows: list[Encoded], batch_sequences: int, seed: int, step: int) -> list[Encoded]:
    """The texts of one step: a seeded order of the whole file, taken in turn, a new order each time round."""
    size = min(batch_sequences, len(rows))
    per_round = len(rows) // size
    order = np.random.default_rng([seed, step // per_round, 104]).permutation(len(rows))
    start = step % per_round * size
    return [rows[i] for i in order[start : start + size]]
