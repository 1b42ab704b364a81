"""An artefact is complete or absent, whenever the process that makes it dies."""

import json
import os
from pathlib import Path

import pytest

from srd.errors import UserError
from srd.store.artefacts import Node, Work, build, closure, prepare, require
from srd.store.manifests import read_manifest
from srd.store.partial import fill
from srd.store.rows import write_rows

LEAF = Node("samples", 1, {"a": 1})
TOP = Node("rank", 1, {"k": 60}, {"reflections": LEAF})


class Dies(BaseException):
    """Stands for a kill at that very place."""


def make(work: Work) -> None:
    write_rows(work.path / "rows.jsonl", [{"id": "1"}])
    (work.path / "state").write_text("only for a continued run")
    work.leaves.add("rows.jsonl")


def test_the_same_settings_and_inputs_have_the_same_fingerprint() -> None:
    assert TOP.fingerprint == Node("rank", 1, {"k": 60}, {"reflections": Node("samples", 1, {"a": 1})}).fingerprint
    others = [
        Node("rank", 2, {"k": 60}, TOP.inputs),
        Node("rank", 1, {"k": 61}, TOP.inputs),
        Node("rank", 1, {"k": 60}),
    ]
    deeper = Node("rank", 1, {"k": 60}, {"reflections": Node("samples", 1, {"a": 2})})
    assert len({node.fingerprint for node in [TOP, deeper, *others]}) == 5
    assert closure([TOP, LEAF]) == [LEAF, TOP]


def test_a_made_artefact_is_made_once_and_without_scratch(tmp_path: Path) -> None:
    calls = []
    for _ in range(2):
        folder = build(LEAF, tmp_path, lambda work: (calls.append(1), make(work))[1])
    assert len(calls) == 1
    assert {path.name for path in folder.iterdir()} == {"rows.jsonl", "manifest.json"}
    entry = read_manifest(folder)["files"]["rows.jsonl"]
    assert entry["rows"] == 1
    assert require(LEAF, tmp_path) == folder


def test_death_before_the_manifest_keeps_the_partial_folder_for_the_next(tmp_path: Path) -> None:
    def dies(work: Work) -> None:
        (work.path / "half").write_text("x")
        raise Dies

    with pytest.raises(Dies):
        build(LEAF, tmp_path, dies)
    assert not LEAF.is_complete(tmp_path)

    def goes_on(work: Work) -> None:
        assert (work.path / "half").read_text() == "x"
        make(work)

    assert build(LEAF, tmp_path, goes_on) == LEAF.folder(tmp_path)


def test_death_between_manifest_and_rename_needs_no_second_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(source: Path, target: Path) -> None:
        if Path(target) == LEAF.folder(tmp_path):
            raise Dies
        rename(source, target)

    rename = os.replace
    with monkeypatch.context() as patched:
        patched.setattr("os.replace", dies)
        with pytest.raises(Dies):
            build(LEAF, tmp_path, make)

    def never(work: Work) -> None:
        pytest.fail("made twice")

    folder = build(LEAF, tmp_path, never)
    assert {path.name for path in folder.iterdir()} == {"rows.jsonl", "manifest.json"}


@pytest.mark.parametrize("damage", ["edit", "delete", "manifest"])
def test_a_damaged_input_is_named(tmp_path: Path, damage: str) -> None:
    folder = build(LEAF, tmp_path, make)
    victim = folder / ("manifest.json" if damage == "manifest" else "rows.jsonl")
    if damage == "delete":
        victim.unlink()
    else:
        victim.write_text(victim.read_text()[:-3])
    with pytest.raises(UserError, match=str(victim)):
        build(TOP, tmp_path, lambda work: None)


def test_a_missing_input_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `srd samples`"):
        build(TOP, tmp_path, lambda work: None)


def test_outputs_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another folder"):
        prepare(tmp_path / "file" / "outputs")


@pytest.mark.parametrize("dies_at", range(1, 7))
def test_rows_filled_across_deaths_are_the_rows_of_one_go(tmp_path: Path, dies_at: int) -> None:
    """Death in the middle of any batch, with another batch size asked for afterwards."""

    def work(name: str) -> Work:
        (tmp_path / name).mkdir(exist_ok=True)
        return Work(LEAF, tmp_path / name, {})

    def compute(batch: list[int], tick: object) -> tuple[list[dict[str, object]], dict[str, float]]:
        # As with floats, the value depends a little on the company.
        return [{"id": f"{item:03d}", "value": item * len(batch)} for item in batch], {"tokens": len(batch)}

    items = list(range(13, 0, -1))
    straight = work("straight")
    fill(straight, "rows.jsonl", items, 3, compute, key=lambda row: row["id"])
    calls = 0

    def mortal(batch: list[int], tick: object) -> tuple[list[dict[str, object]], dict[str, float]]:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            with (tmp_path / "killed" / "rows.jsonl.unsorted.jsonl").open("a") as file:
                file.write('{"id": "torn')
            raise Dies
        return compute(batch, tick)

    killed = work("killed")
    if dies_at <= 5:
        with pytest.raises(Dies):
            fill(killed, "rows.jsonl", items, 3, mortal, key=lambda row: row["id"])
    fill(
        killed,
        "rows.jsonl",
        items,
        3 if dies_at == 1 else 4,
        compute if dies_at == 6 else mortal,
        key=lambda row: row["id"],
    )
    ours, theirs = ((tmp_path / name / "rows.jsonl").read_bytes() for name in ("killed", "straight"))
    if dies_at != 6:
        assert ours == theirs
        assert killed.ledger["tokens"] == straight.ledger["tokens"] == 13
    else:
        assert ours != theirs, "a fresh start takes the new batch size"
    assert json.loads(ours.splitlines()[0])["id"] == "001"
