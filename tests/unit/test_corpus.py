"""A corpus in blocks: every token but a text's first is predicted once, whatever the texts spell."""

from pathlib import Path

import pytest

from srd.errors import UserError
from srd.training.corpus import read_corpus
from tests.reading import write_jsonl
from tests.tokenizers import KINDS, tokenizer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_tokens", [2, 7, 16, 1000])
def test_no_token_of_a_text_is_lost_or_read_twice(
    tmp_path: Path, kind: str, max_tokens: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tokenizer(kind)
    texts = ["bace di fo gu " * 12, "lame ni", "po ru sta"]
    rows = read_corpus(str(write_jsonl(tmp_path / "text.jsonl", [{"text": t} for t in texts])), tokens, max_tokens)
    left, cut = list(rows), 0
    for text in texts:
        framed = tokens(text).input_ids if kind != "slow" else tokens(text, add_special_tokens=False).input_ids
        cut += len(framed) > max_tokens
        read = [*left[0].prompt]
        while len(read) < len(framed):
            row = left.pop(0)
            assert row.prompt == read[-1:]
            assert row.num_tokens <= max_tokens
            read += row.response
        assert read == framed
    assert not left
    assert len({row.id for row in rows}) == len(rows)
    assert (f"{cut} of 3 texts are over" in capsys.readouterr().err) == (cut > 0)


def test_a_text_that_spells_a_control_token_and_one_without_a_second_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tokenizer("byte_bpe", begin=False)
    path = write_jsonl(tmp_path / "text.jsonl", [{"text": "lame <eos> ni"}, {"text": "a"}, {"text": ""}])
    rows = read_corpus(str(path), tokens, 50)
    assert [tokens.decode(row.prompt + row.response) for row in rows] == ["lame <eos> ni"]
    assert tokens.eos_token_id not in rows[0].response
    assert "2 of 3 texts have fewer than two tokens" in capsys.readouterr().err
    with pytest.raises(UserError, match="no column 'text'"):
        read_corpus(str(write_jsonl(tmp_path / "other.jsonl", [{"words": "x"}])), tokens, 50)
