"""Plain text for a language-modelling loss next to distillation, as in DistiLLM and MiniLLM."""

from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from srd.errors import UserError
from srd.store.rows import read_lines, sample_id
from srd.text.encoding import Encoded, encode_text


def read_corpus(path: str, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[Encoded]:
    """Every text of the file as a row whose first token is the prompt; one without a second token is skipped."""
    rows: list[Encoded] = []
    for where, line in read_lines(Path(path)):
        if not isinstance(line.get("text"), str):
            raise UserError(
                f"{where}: no column 'text' (columns: {', '.join(line)}); method.corpus.path needs rows like "
                f'{{"text": …}}'
            )
        ids = encode_text(line["text"], tokenizer)[:max_tokens]
        if len(ids) > 1:
            rows.append(Encoded(sample_id(line["text"], "", ""), ids[:1], ids[1:], False))
    if not rows:
        raise UserError(f"method.corpus.path={path}: no text in it")
    return rows


def corpus_rows(rows: list[Encoded], batch_sequences: int, seed: int, step: int) -> list[Encoded]:
    """The texts of one step: a seeded order of the whole file, taken in turn, a new order each time round."""
    size = min(batch_sequences, len(rows))
    per_round = len(rows) // size
    order = np.random.default_rng([seed, step // per_round, 104]).permutation(len(rows))
    start = step % per_round * size
    return [rows[i] for i in order[start : start + size]]
