"""Data in: every loader keeps the contract; every broken file is named with its line."""

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
from srd.stages.samples import clean, repeats, split
from srd.store.rows import sample_id
from tests.conftest import make_rows
from tests.reading import write_jsonl


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_jsonl(path, rows)


def dataset(path: Path, **more: Any) -> Dataset:
    return Dataset(name="jsonl", path=str(path), **more)


def folder_for(name: str, tmp_path: Path) -> Dataset:
    """A data set of every kind with a few rows."""
    if name == "pydoc":
        return Dataset(name="pydoc")
    rows = make_rows(12)
    if name == "hub":
        write(tmp_path / "hub" / "train.jsonl", rows)
        return Dataset(name="hub", hub=str(tmp_path / "hub"), revision="0" * 40)
    names = getattr(DATASETS[name], "names", {"train": ["train"], "test": ["test"]})
    for place, stems in enumerate(names.values()):
        write(tmp_path / f"{stems[0]}.jsonl", [{**row, "instruction": f"{place} {row['instruction']}"} for row in rows])
    return Dataset(name=name, path=str(tmp_path))


@pytest.mark.parametrize("name", DATASETS)
def test_every_loader_keeps_the_contract(name: str, tmp_path: Path) -> None:
    settings = folder_for(name, tmp_path)
    rows = list(DATASETS[name].load(settings))
    assert len(rows) >= 12
    for row in rows:
        assert row.keys() == {"instruction", "input", "output", "split", "where"}
        assert row["split"] in ("train", "dev", "test")
        assert row["output"]
    assert json.dumps(DATASETS[name].source(settings))
    assert rows == list(DATASETS[name].load(settings))


def test_there_are_as_many_data_sets_as_promised() -> None:
    assert len(DATASETS) == 8


def test_pydoc_is_real_english_and_large_enough() -> None:
    rows = list(DATASETS["pydoc"].load(Dataset()))
    assert len(rows) > 3000
    assert len({row["output"].lower() for row in rows}) == len(rows)
    by_name = {row["instruction"].split("(")[0]: row["output"] for row in rows}
    assert by_name["textwrap.dedent"].startswith("Remove any common leading whitespace")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"instruction": "a", "output": "b"}\n{"instruction": \n', r"rows\.jsonl:2: not JSON"),
        (b'{"instruction": "a", "output": "b"}\n\xff\xfe\n', r"rows\.jsonl:2: not UTF-8"),
        (b"", r"rows\.jsonl: empty"),
        (b'{"instruction": "a"}\n', r"rows\.jsonl:1: no column 'output'; found instruction"),
        (b'{"prompt": "a", "output": "b"}\n', r"rows\.jsonl:1: no column 'instruction'; found prompt, output"),
        (b"[1]\n", r"rows\.jsonl\[0\]: expected a JSON object"),
        (b"1\n", r"rows\.jsonl:1: expected a JSON object, found text or a number"),
        (b'{"instruction": "a", "output": true}\n', r"rows\.jsonl:1: output is True: expected text or a number"),
        (b'{"instruction": "a", "output": null}\n', r"rows\.jsonl:1: output is None: expected text or a number"),
        (b'{"instruction": "a", "output": {"a": 1}}\n', r"rows\.jsonl:1: output is {'a': '1'}: expected text"),
        (b'{"instruction": "a", "output": ["b", []]}\n', r"rows\.jsonl:1: output is \[\]: expected text"),
        (b'{"instruction": ["a"], "output": "b"}\n', r"rows\.jsonl:1: instruction is \['a'\]: expected text"),
        (b'{"instruction": "a", "input": {}, "output": "b"}\n', r"rows\.jsonl:1: input is {}: expected text"),
        (b'{"instruction": "a", "input": [], "output": "b"}\n', r"rows\.jsonl:1: input is \[\]: expected text"),
        (b'{"instruction": "a", "input": false, "output": "b"}\n', r"rows\.jsonl:1: input is False: expected text"),
        (b'{"instruction": "a", "output": "b", "output": "c"}\n', r"rows\.jsonl:1: the key 'output' comes twice"),
        (b'{"instruction": "a", "output": NaN}\n', r"rows\.jsonl:1: NaN is not JSON"),
        (b'{"instruction": "a", "output": "\\ud800"}\n', r"rows\.jsonl:1: not text that UTF-8 can hold"),
        (b'\n\n{"instruction": "a", "output": ' + b"[" * 200_000, r"rows\.jsonl:3: nested too deeply"),
        (b'{"instruction": "a", "output": "' + b"b" * (17 << 20) + b'"}', r"rows\.jsonl:1: a line of more than 16 MiB"),
        (b'[\n{"instruction": "a"\n', r"rows\.jsonl:3: not JSON"),
        (b'[\n{"instruction": "\xff"}\n]', r"rows\.jsonl:2: not UTF-8"),
        (b"[]", r"rows\.jsonl: empty"),
        (b"  \n \n", r"rows\.jsonl: empty"),
        (b"\n<!DOCTYPE html><html>", r"rows\.jsonl: a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", r"rows\.jsonl: a Git LFS pointer"),
        (b"PK\x03\x04zip", r"rows\.jsonl: a zip archive"),
        (b"\x28\xb5\x2f\xfd zst", r"rows\.jsonl: Zstandard"),
        ("\ufeff{}".encode("utf-16"), r"rows\.jsonl: UTF-16"),
        (b"PAR1 and no more", r"rows\.jsonl: broken Parquet file"),
        (b"BZh9 and no more", r"rows\.jsonl: broken packed file"),
        (b"instruction,output\na,b\n", r"rows\.jsonl:1: not JSON"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as told:
        list(DATASETS["jsonl"].load(dataset(path)))
    assert "\n" not in str(told.value)


def test_a_torn_gzip_file_and_a_missing_file_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps({"instruction": "a", "output": "b" * 5000}).encode())
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="broken gzip file"):
        list(DATASETS["jsonl"].load(dataset(tmp_path / "rows.jsonl.gz")))
    with pytest.raises(UserError, match="no such file or folder"):
        DATASETS["jsonl"].source(dataset(tmp_path / "nothing.jsonl"))


def test_gzip_and_plain_give_the_same_rows(tmp_path: Path) -> None:
    plain = write(tmp_path / "rows.jsonl", make_rows(5))
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    strip = [{**row, "where": ""} for row in DATASETS["jsonl"].load(dataset(plain))]
    assert strip == [{**row, "where": ""} for row in DATASETS["jsonl"].load(dataset(packed))]


def test_foreign_columns_are_read_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"question": "q", "answer": "a"}])
    columns = ColumnNames(instruction="question", output="answer")
    assert next(DATASETS["jsonl"].load(dataset(path, columns=columns)))["output"] == "a"


def raw(output: str | list[str], split: str = "train", instruction: str = "i") -> dict[str, Any]:
    return {"instruction": instruction, "input": "", "output": output, "split": split, "where": "file:1"}


def test_empty_responses_and_duplicates_are_counted_or_refused() -> None:
    rows = [raw("a"), raw("a"), raw(" "), raw([""]), raw("b")]
    samples, skipped = clean(rows, strict=False)
    assert [sample.output for sample in samples] == ["a", "b"]
    assert skipped == {"with an empty response": 2, "duplicates": 1}
    with pytest.raises(UserError, match="file:1: row is a duplicate"):
        clean(rows, strict=True)
    with pytest.raises(UserError, match="with an empty response"):
        clean([raw(" ")], strict=True)


def test_a_training_row_that_repeats_a_test_row_leaves_training() -> None:
    samples, skipped = clean([raw("a"), raw("a", "test")], strict=False)
    assert [sample.split for sample in samples] == ["test"]
    assert skipped["duplicates"] == 1


def test_splits_do_not_depend_on_file_order_and_share_no_row() -> None:
    samples, _ = clean([raw(f"answer {i}") for i in range(50)], strict=False)
    splits = split(samples, 20, 5, 7)
    assert splits == split(samples[::-1], 20, 5, 7)
    assert [len(splits[name]) for name in ("train", "dev", "test")] == [20, 5, 7]
    ids = [sample.id for rows in splits.values() for sample in rows]
    assert len(ids) == len(set(ids))


def test_the_id_is_of_the_text_alone() -> None:
    assert sample_id("a", "", "b") == sample_id("a", "", "b") != sample_id("a", "b", "")
    assert len(sample_id("a", "", "b")) == 16


def test_dolly_of_the_real_data_has_the_published_splits(shared: Path) -> None:
    settings = Dataset(name="dolly", path=str(shared / "data/dolly"))
    samples, skipped = clean(DATASETS["dolly"].load(settings), strict=False)
    splits = split(samples)
    assert [len(splits[name]) for name in ("train", "dev", "test")] == [11_421, 1000, 500]
    assert skipped == {"with an empty response": 0, "duplicates": 0}


@pytest.mark.parametrize(("name", "count"), [("self_inst", 242), ("vicuna", 80), ("sinst", 1694)])
def test_suites_of_the_real_data_are_whole(shared: Path, name: str, count: int) -> None:
    rows = list(DATASETS[name].load(Dataset(name=name, path=str(shared / "data" / name))))
    assert len(rows) == count
    assert {row["split"] for row in rows} == {"test"}


def test_a_hub_data_set_without_a_pinned_commit_is_refused() -> None:
    with pytest.raises(UserError, match="the commit to pin"):
        DATASETS["hub"].source(Dataset(name="hub", hub="some/name"))
    with pytest.raises(UserError, match=r"place minillm_11_inf.jsonl in a folder"):
        DATASETS["uinst"].source(Dataset(name="uinst"))


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
    row = next(iter(DATASETS["jsonl"].load(dataset(tmp_path / "rows.jsonl"))))
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
    path = write(tmp_path / "rows.jsonl", [{"messages": turns(ROWS[1])}, {"messages": conversation}])
    with pytest.raises(UserError, match=r"rows\.jsonl:2: .*" + message):
        list(DATASETS["jsonl"].load(dataset(path)))


def test_of_longer_conversations_the_first_exchange_is_read_and_the_count_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"role": "system", "content": "Be brief."}
    rows = [{"messages": [told, *turns(row, "more?", "no")]} for row in ROWS[:2]] + [{"messages": turns(ROWS[2])}]
    found = list(DATASETS["jsonl"].load(dataset(write(tmp_path / "rows.jsonl", rows))))
    assert [row["output"] for row in found] == [row["output"] for row in ROWS[:3]]
    assert [row.get("system", "") for row in found] == ["Be brief.", "Be brief.", ""]
    assert "2 of 3 conversations have more turns" in capsys.readouterr().err


def test_columns_that_are_not_used_are_named_with_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "system": "Be brief.", "history": [["a", "b"]] if i else None} for i, row in enumerate(ROWS)]
    path = write(tmp_path / "rows.jsonl", rows)
    assert "system" not in next(iter(DATASETS["jsonl"].load(dataset(path))))
    list(DATASETS["jsonl"].load(dataset(path)))
    assert "columns that are not used: system (6 rows), history (5 rows)" in capsys.readouterr().err
    found = list(DATASETS["jsonl"].load(dataset(path, columns=ColumnNames(system="system"))))
    assert {row["system"] for row in found} == {"Be brief."}
    assert "not used: history (5 rows)" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["instruction", "input", "output", "system"])
def test_a_misspelt_column_is_refused_with_the_nearest(tmp_path: Path, what: str) -> None:
    named = {"instruction": "question", "input": "context", "output": "answer", "system": "persona"}
    path = write(tmp_path / "rows.jsonl", [dict.fromkeys(named.values(), "text")])
    columns = ColumnNames(**{**named, what: named[what][:-1]})
    with pytest.raises(UserError, match=f"(did you mean|found).*{named[what]}"):
        list(DATASETS["jsonl"].load(dataset(path, columns=columns)))


@pytest.mark.parametrize("name", ["dev", "validation", "valid", "val", "eval"])
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".jsonl.gz"])
def test_a_folder_has_its_splits_by_name(tmp_path: Path, name: str, ending: str) -> None:
    write(tmp_path / "train.jsonl", ROWS[:4])
    held = as_parquet(ROWS[4:]) if ending == ".parquet" else as_lines(ROWS[4:])
    (tmp_path / f"{name}{ending}").write_bytes(gzip.compress(held) if ending.endswith("gz") else held)
    rows = list(DATASETS["jsonl"].load(dataset(tmp_path)))
    assert [row["split"] for row in rows] == ["train"] * 4 + ["dev"] * 2
    assert DATASETS["jsonl"].source(dataset(tmp_path)).keys() == {"train", "dev"}


@pytest.mark.parametrize(
    "pair", [("train.jsonl", "train.json"), ("dev.jsonl", "valid.jsonl"), ("test.json", "test.parquet")]
)
def test_two_files_for_one_split_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    for name in {"train.jsonl", *pair}:
        write(tmp_path / name, ROWS)
    with pytest.raises(UserError, match=r" and .* are both (train|dev|test) data"):
        DATASETS["jsonl"].source(dataset(tmp_path))


def test_a_folder_says_what_it_does_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "other.jsonl", ROWS)
    with pytest.raises(UserError, match=r"it has other\.jsonl: set dataset\.path to one of them"):
        DATASETS["jsonl"].source(dataset(tmp_path))
    write(tmp_path / "train.jsonl", ROWS)
    for _ in range(2):
        DATASETS["jsonl"].source(dataset(tmp_path))
    assert capsys.readouterr().err.count("not read: other.jsonl") == 1


def test_a_pipe_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(UserError, match="not a regular file"):
            DATASETS["jsonl"].source(dataset(path))


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
    rows = list(DATASETS["jsonl"].load(dataset(tmp_path)))
    assert [row["output"] for row in rows] == [row["output"] for row in ROWS]
    assert [row["split"] for row in rows] == ["train"] * 4 + ["dev"] * 2
    other = tmp_path / "other"
    write(other / "inside" / "train.jsonl", ROWS)
    with pytest.raises(UserError, match="no data file in this folder"):
        DATASETS["jsonl"].source(dataset(other))


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
        DATASETS["jsonl"].source(dataset(write(tmp_path / "rows.jsonl", ROWS), config_name="x"))


def test_databricks_own_file_is_read_by_both_loaders(tmp_path: Path) -> None:
    path = write(tmp_path / "databricks-dolly-15k.jsonl", DOLLY)
    for name in ("dolly", "jsonl"):
        rows = list(DATASETS[name].load(Dataset(name=name, path=str(path))))
        assert [(row["instruction"], row["input"], row["output"]) for row in rows] == EXPECTED


def test_columns_that_a_suite_does_not_read_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "databricks-dolly-15k.jsonl", DOLLY)
    settings = Dataset(name="dolly", path=str(path), columns=ColumnNames(output="answer"))
    with pytest.raises(UserError, match=r"dataset\.columns\.output=answer: .*use dataset=jsonl"):
        DATASETS["dolly"].source(settings)


def test_an_empty_reference_beside_others_is_not_trained_on() -> None:
    samples, skipped = clean([raw(["", "b"]), raw(["c", " ", "d"]), raw("e")], strict=False)
    assert [sample.references for sample in samples] == [["b"], ["c", "d"], ["e"]]
    assert not any(skipped.values())


def test_held_out_prompts_that_are_trained_on_are_counted() -> None:
    rows = [raw("a"), raw("b", "test"), raw("c", "test", "other"), raw("d", "dev", "i ")]
    samples, _ = clean(rows, strict=False)
    splits = split(samples)
    assert [repeats(splits["train"], splits[name]) for name in ("dev", "test")] == [1, 1]
