"""A file of rows is read by what it is, whatever its name; what is not read is one line."""

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pytest

from srd.config import ColumnNames, Dataset
from srd.datasets import DATASETS
from srd.errors import UserError
from tests.composing import rows_at
from tests.conftest import make_rows
from tests.reading import write_jsonl

ROWS = make_rows(6)
EXPECTED = [(row["instruction"], row["input"], row["output"]) for row in ROWS]


def turns(row: dict[str, str], *more: str) -> list[dict[str, str]]:
    asked = f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"]
    words = [asked, row["output"], *more]
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(words)]


def sharegpt(row: dict[str, str]) -> list[dict[str, str]]:
    names = {"user": "human", "assistant": "gpt"}
    return [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns(row)]


def as_lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: list[Any]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


DOLLY = [
    {"instruction": i, "context": context, "response": output, "category": "qa"} for i, context, output in EXPECTED
]
JOINED = [(turns(row)[0]["content"], "", row["output"]) for row in ROWS]
LINES = as_lines(ROWS)
FORMATS: dict[str, tuple[bytes, list[tuple[str, str, str]]]] = {
    "lines.jsonl": (LINES, EXPECTED),
    "no final newline.jsonl": (LINES.rstrip(), EXPECTED),
    "windows lines.jsonl": (LINES.replace(b"\n", b"\r\n"), EXPECTED),
    "empty lines.jsonl": (b"\n" + LINES.replace(b"\n", b"\n\n"), EXPECTED),
    "bom.jsonl": (b"\xef\xbb\xbf" + LINES, EXPECTED),
    "lines.jsonl.gz": (gzip.compress(LINES), EXPECTED),
    "gzip under another name.jsonl": (gzip.compress(LINES), EXPECTED),
    "bzip2.data": (bz2.compress(LINES), EXPECTED),
    "xz.jsonl": (lzma.compress(LINES), EXPECTED),
    "bom inside gzip.jsonl": (gzip.compress(b"\xef\xbb\xbf" + LINES), EXPECTED),
    "array.json": (json.dumps(ROWS, indent=2).encode(), EXPECTED),
    "array on one line.jsonl": (json.dumps(ROWS).encode(), EXPECTED),
    "array with bom.json": (b"\xef\xbb\xbf\n " + json.dumps(ROWS).encode(), EXPECTED),
    "packed array.json.gz": (gzip.compress(json.dumps(ROWS).encode()), EXPECTED),
    "rows.parquet": (as_parquet(ROWS), EXPECTED),
    "parquet under another name": (as_parquet(ROWS), EXPECTED),
    "dolly.jsonl": (as_lines(DOLLY), EXPECTED),
    "dolly.parquet": (as_parquet(DOLLY), EXPECTED),
    "messages.jsonl": (as_lines([{"messages": turns(row)} for row in ROWS]), JOINED),
    "messages.json": (json.dumps([{"messages": turns(row)} for row in ROWS]).encode(), JOINED),
    "messages.parquet": (as_parquet([{"messages": turns(row)} for row in ROWS]), JOINED),
    "sharegpt.json": (json.dumps([{"conversations": sharegpt(row)} for row in ROWS]).encode(), JOINED),
    "sharegpt.jsonl": (as_lines([{"id": "x", "conversations": sharegpt(row)} for row in ROWS]), JOINED),
    "parts.jsonl": (
        as_lines(
            [
                {"messages": [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns(row)]}
                for row in ROWS
            ]
        ),
        JOINED,
    ),
}
"""Files that hold the same six rows."""


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_read_by_what_it_is_whatever_its_name(tmp_path: Path, name: str) -> None:
    assert len(FORMATS) == 24
    content, expected = FORMATS[name]
    (tmp_path / name).write_bytes(content)
    settings = Dataset(path=str(tmp_path / name))
    assert settings.name == "jsonl", "a path alone chooses the loader"
    rows = list(DATASETS["jsonl"].load(settings))
    assert [(row["instruction"], row["input"], row["output"]) for row in rows] == expected


def test_a_hub_name_alone_chooses_the_hub_and_pydoc_takes_no_columns() -> None:
    assert Dataset(hub="org/name").name == "hub"
    with pytest.raises(UserError, match=r"dataset\.columns\.input=context: expected nothing beside dataset=pydoc"):
        Dataset(columns=ColumnNames(input="context"))
    with pytest.raises(UserError, match="expected one of them"):
        Dataset(path="x", hub="y")


def test_numbers_are_the_text_that_they_are_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"instruction": 7, "input": 0, "output": [1.50, 10000000000000000000000, "x"]}'
    )
    row = next(iter(DATASETS["jsonl"].load(rows_at(tmp_path / "rows.jsonl"))))
    assert (row["instruction"], row["input"]) == ("7", "0")
    assert row["output"] == ["1.50", "10000000000000000000000", "x"]


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        ([], "begins with nothing"),
        (turns(ROWS[1])[:1], "begins with user; expected a question"),
        (turns(ROWS[1])[1:], "begins with assistant; expected a question"),
        ([{"role": "tool", "content": "x"}], r"messages\[0\]: role 'tool'"),
        (["x"], r"messages\[0\] is 'x': expected an object"),
        ([{"role": "user", "content": 3}, {"role": "assistant", "content": None}], "expected text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "expected text"),
        (
            [{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": [{}]}],
            "call of a tool",
        ),
    ],
)
def test_a_conversation_that_begins_with_no_exchange_is_refused(
    tmp_path: Path, conversation: list[Any], message: str
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"messages": turns(ROWS[1])}, {"messages": conversation}])
    with pytest.raises(UserError, match=r"rows\.jsonl:2: .*" + message):
        list(DATASETS["jsonl"].load(rows_at(path)))


def test_of_longer_conversations_the_first_exchange_is_read_and_the_count_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"role": "system", "content": "Be brief."}
    rows = [{"messages": [told, *turns(row, "more?", "no")]} for row in ROWS[:2]] + [{"messages": turns(ROWS[2])}]
    found = list(DATASETS["jsonl"].load(rows_at(write_jsonl(tmp_path / "rows.jsonl", rows))))
    assert [row["output"] for row in found] == [row["output"] for row in ROWS[:3]]
    assert [row.get("system", "") for row in found] == ["Be brief.", "Be brief.", ""]
    assert "2 of 3 conversations have more turns" in capsys.readouterr().err


def test_columns_that_are_not_used_are_named_with_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "system": "Be brief.", "history": [["a", "b"]] if i else None} for i, row in enumerate(ROWS)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert "system" not in next(iter(DATASETS["jsonl"].load(rows_at(path))))
    list(DATASETS["jsonl"].load(rows_at(path)))
    assert "columns that are not used: system (6 rows), history (5 rows)" in capsys.readouterr().err
    found = list(DATASETS["jsonl"].load(rows_at(path, columns=ColumnNames(system="system"))))
    assert {row["system"] for row in found} == {"Be brief."}
    assert "not used: history (5 rows)" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["instruction", "input", "output", "system"])
def test_a_misspelt_column_is_refused_with_the_nearest(tmp_path: Path, what: str) -> None:
    named = {"instruction": "question", "input": "context", "output": "answer", "system": "persona"}
    path = write_jsonl(tmp_path / "rows.jsonl", [dict.fromkeys(named.values(), "text")])
    columns = ColumnNames(**{**named, what: named[what][:-1]})
    with pytest.raises(UserError, match=f"(did you mean|found).*{named[what]}"):
        list(DATASETS["jsonl"].load(rows_at(path, columns=columns)))


@pytest.mark.parametrize("name", ["dev", "validation", "valid", "val", "eval"])
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".jsonl.gz"])
def test_a_folder_has_its_splits_by_name(tmp_path: Path, name: str, ending: str) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS[:4])
    held = as_parquet(ROWS[4:]) if ending == ".parquet" else as_lines(ROWS[4:])
    (tmp_path / f"{name}{ending}").write_bytes(gzip.compress(held) if ending.endswith("gz") else held)
    rows = list(DATASETS["jsonl"].load(rows_at(tmp_path)))
    assert [row["split"] for row in rows] == ["train"] * 4 + ["dev"] * 2
    assert DATASETS["jsonl"].source(rows_at(tmp_path)).keys() == {"train", "dev"}


@pytest.mark.parametrize(
    "pair", [("train.jsonl", "train.json"), ("dev.jsonl", "valid.jsonl"), ("test.json", "test.parquet")]
)
def test_two_files_for_one_split_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    for name in {"train.jsonl", *pair}:
        write_jsonl(tmp_path / name, ROWS)
    with pytest.raises(UserError, match=r" and .* are both (train|dev|test) data"):
        DATASETS["jsonl"].source(rows_at(tmp_path))


def test_a_folder_says_what_it_does_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "other.jsonl", ROWS)
    with pytest.raises(UserError, match=r"it has other\.jsonl: set dataset\.path to one of them"):
        DATASETS["jsonl"].source(rows_at(tmp_path))
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    for _ in range(2):
        DATASETS["jsonl"].source(rows_at(tmp_path))
    assert capsys.readouterr().err.count("not read: other.jsonl") == 1


def test_a_pipe_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(UserError, match="not a regular file"):
            DATASETS["jsonl"].source(rows_at(path))


def two_configs(folder: Path) -> Path:
    for name in ("main", "socratic"):
        (folder / name).mkdir(parents=True)
        (folder / name / "train.parquet").write_bytes(as_parquet(ROWS if name == "main" else ROWS[:2]))
    entries = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.parquet\n"
        for name in ("main", "socratic")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{entries}---\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "data"])
def test_shards_of_a_hub_folder_are_its_splits_and_other_files_are_not_guessed(tmp_path: Path, where: str) -> None:
    folder = tmp_path / where
    folder.mkdir(exist_ok=True)
    (folder / "train-00000-of-00002.parquet").write_bytes(as_parquet(ROWS[:2]))
    (folder / "train-00001-of-00002.parquet").write_bytes(as_parquet(ROWS[2:4]))
    (folder / "validation-00000-of-00001.parquet").write_bytes(as_parquet(ROWS[4:]))
    rows = list(DATASETS["jsonl"].load(rows_at(tmp_path)))
    assert [row["output"] for row in rows] == [row["output"] for row in ROWS]
    assert [row["split"] for row in rows] == ["train"] * 4 + ["dev"] * 2
    other = tmp_path / "other"
    write_jsonl(other / "inside" / "train.jsonl", ROWS)
    with pytest.raises(UserError, match="no data file in this folder"):
        DATASETS["jsonl"].source(rows_at(other))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["path", "hub"])
def test_of_several_configs_of_a_hub_folder_one_is_chosen(tmp_path: Path, how: str) -> None:
    folder = str(two_configs(tmp_path / "data"))
    where = {"path": folder} if how == "path" else {"hub": folder}
    for name, message in ((None, "main, socratic; choose one"), ("socrates", "did you mean 'socratic'")):
        settings = Dataset(**where, config_name=name)
        with pytest.raises(UserError, match=message):
            list(DATASETS[settings.name].load(settings))
    settings = Dataset(**where, config_name="socratic")
    assert len(list(DATASETS[settings.name].load(settings))) == 2
    before = DATASETS[settings.name].source(settings)
    (Path(folder) / "socratic/train.parquet").write_bytes(as_parquet(ROWS[:3]))
    assert DATASETS[settings.name].source(settings) != before
    with pytest.raises(UserError, match="no hub data set with configs"):
        DATASETS["jsonl"].source(rows_at(write_jsonl(tmp_path / "rows.jsonl", ROWS), config_name="x"))


def test_databricks_own_file_is_read_by_both_loaders(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "databricks-dolly-15k.jsonl", DOLLY)
    for name in ("dolly", "jsonl"):
        rows = list(DATASETS[name].load(Dataset(name=name, path=str(path))))
        assert [(row["instruction"], row["input"], row["output"]) for row in rows] == EXPECTED


def test_columns_that_a_suite_does_not_read_are_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "databricks-dolly-15k.jsonl", DOLLY)
    settings = Dataset(name="dolly", path=str(path), columns=ColumnNames(output="answer"))
    with pytest.raises(UserError, match=r"dataset\.columns\.output=answer: .*use dataset=jsonl"):
        DATASETS["dolly"].source(settings)
