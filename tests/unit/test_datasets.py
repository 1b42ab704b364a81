"""Data in: every loader keeps the contract; every broken file is named with its line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from srd.config import ColumnNames, Dataset
from srd.datasets import DATASETS
from srd.errors import UserError
from srd.stages.samples import clean, repeats, split
from srd.store.rows import SPLITS, sample_id
from tests.composing import rows_at
from tests.conftest import make_rows
from tests.reading import write_jsonl


def folder_for(name: str, tmp_path: Path) -> Dataset:
    """A data set of every kind with a few rows."""
    if name == "pydoc":
        return Dataset(name="pydoc")
    rows = make_rows(12)
    if name == "text":
        write_jsonl(tmp_path / "train.jsonl", [{"text": row["output"]} for row in rows])
        return Dataset(name=name, path=str(tmp_path))
    if name == "hub":
        write_jsonl(tmp_path / "hub" / "train.jsonl", rows)
        return Dataset(name="hub", hub=str(tmp_path / "hub"), revision="0" * 40)
    names = getattr(DATASETS[name], "names", {"train": ["train"], "test": ["test"]})
    for place, stems in enumerate(names.values()):
        write_jsonl(
            tmp_path / f"{stems[0]}.jsonl", [{**row, "instruction": f"{place} {row['instruction']}"} for row in rows]
        )
    return Dataset(name=name, path=str(tmp_path))


CONTRACTS = [pytest.param(name, marks=[pytest.mark.slow] if name == "pydoc" else []) for name in DATASETS]


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_loader_keeps_the_contract(name: str, tmp_path: Path) -> None:
    settings = folder_for(name, tmp_path)
    rows = list(DATASETS[name].load(settings))
    assert len(rows) >= 12
    for row in rows:
        assert row.keys() == {"instruction", "input", "output", "split", "where"}
        assert row["split"] in SPLITS
        assert row["output"]
    assert json.dumps(DATASETS[name].source(settings))
    assert rows == list(DATASETS[name].load(settings))


def test_there_are_as_many_data_sets_as_promised() -> None:
    assert len(DATASETS) == 16


@pytest.mark.slow
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
        list(DATASETS["jsonl"].load(rows_at(path)))
    assert "\n" not in str(told.value)


def test_a_torn_gzip_file_and_a_missing_file_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps({"instruction": "a", "output": "b" * 5000}).encode())
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="broken gzip file"):
        list(DATASETS["jsonl"].load(rows_at(tmp_path / "rows.jsonl.gz")))
    with pytest.raises(UserError, match="no such file or folder"):
        DATASETS["jsonl"].source(rows_at(tmp_path / "nothing.jsonl"))


def test_gzip_and_plain_give_the_same_rows(tmp_path: Path) -> None:
    plain = write_jsonl(tmp_path / "rows.jsonl", make_rows(5))
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    strip = [{**row, "where": ""} for row in DATASETS["jsonl"].load(rows_at(plain))]
    assert strip == [{**row, "where": ""} for row in DATASETS["jsonl"].load(rows_at(packed))]


def test_foreign_columns_are_read_by_name(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"question": "q", "answer": "a"}])
    columns = ColumnNames(instruction="question", output="answer")
    assert next(DATASETS["jsonl"].load(rows_at(path, columns=columns)))["output"] == "a"


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


def test_a_warm_up_row_that_repeats_any_other_leaves_the_warm_up() -> None:
    for other in ("train", "dev", "test"):
        samples, _ = clean([raw("a", "warmup"), raw("a", other), raw("b", "warmup")], strict=False)
        assert [(sample.output, sample.split) for sample in samples] == [("a", other), ("b", "warmup")]


def test_a_source_with_a_warm_up_split_keeps_its_training_split_whole() -> None:
    samples, _ = clean([raw(f"answer {i}", "warmup" if i % 2 else "train") for i in range(50)], strict=False)
    splits = split(samples, None, warmup=10)
    assert [len(splits[name]) for name in SPLITS] == [25, 0, 0, 10]


def test_splits_do_not_depend_on_file_order_and_share_no_row() -> None:
    samples, _ = clean([raw(f"answer {i}") for i in range(50)], strict=False)
    sizes = {"test": 7, "dev": 5, "warmup": 4}
    splits = split(samples, 20, **sizes)
    assert splits == split(samples[::-1], 20, **sizes)
    assert [len(splits[name]) for name in SPLITS] == [20, 5, 7, 4]
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


def test_an_empty_reference_beside_others_is_not_trained_on() -> None:
    samples, skipped = clean([raw(["", "b"]), raw(["c", " ", "d"]), raw("e")], strict=False)
    assert [sample.references for sample in samples] == [["b"], ["c", "d"], ["e"]]
    assert not any(skipped.values())


def test_held_out_prompts_that_are_trained_on_are_counted() -> None:
    rows = [raw("a"), raw("b", "test"), raw("c", "test", "other"), raw("d", "dev", "i ")]
    samples, _ = clean(rows, strict=False)
    splits = split(samples)
    assert [repeats(splits["train"], splits[name]) for name in ("dev", "test")] == [1, 1]
