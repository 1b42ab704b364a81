"""A finished artefact is read one way, which finds whatever is not as it was made and names it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srd.errors import UserError
from srd.store import manifests
from srd.store.artefacts import Node, Work, build
from srd.store.manifests import MANIFEST, check_contents, file_of, read_manifest
from srd.store.seals import seal, unseal
from tests.reading import read_json

NODE = Node("rank", 1, {"k": 60}, {"reflections": Node("samples", 1, {"a": 1})})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artefact with a row file, and weights in a folder of their own."""

    def make(work: Work) -> None:
        (work.path / "rows.jsonl").write_text('{"id": "1"}\n')
        (work.path / "model").mkdir()
        (work.path / "model" / "weights.raw").write_bytes(bytes(range(256)) * 8)
        work.leaves |= {"rows.jsonl", "model"}

    build(NODE.inputs["reflections"], tmp_path, make)
    return build(NODE, tmp_path, make)


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Damage to a manifest: valid JSON, changed."""

    def damage(folder: Path) -> None:
        record = read_json(folder / MANIFEST)
        change(record)
        (folder / MANIFEST).write_text(json.dumps(record))

    return damage


def as_folder(place: Path) -> None:
    """A folder where the file was."""
    place.unlink()
    place.mkdir()


OF_MANIFESTS: dict[str, Callable[[Path], object]] = {
    **{
        text[:9]: lambda folder, text=text: (folder / MANIFEST).write_text(text)
        for text in ("", "{}", "[]", "null", "1", '"text"', '{"stage": "rank"}', "1" * 5000, "[" * 100_000, "{")
    },
    "not UTF-8": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe"),
    "NUL bytes": lambda folder: (folder / MANIFEST).write_bytes(bytes((folder / MANIFEST).stat().st_size)),
    "a folder": lambda folder: as_folder(folder / MANIFEST),
    "no files": edited(lambda record: record.pop("files")),
    "no digest": edited(lambda record: record.pop("digest")),
    "a file unlisted": edited(lambda record: record["files"].pop("rows.jsonl")),
    "the ledger": edited(lambda record: record["ledger"].update(seconds=0.5)),
    "the inputs": edited(lambda record: record["inputs"].clear()),
    "the settings": edited(lambda record: record["settings"].update(k=61)),
    "the version": edited(lambda record: record.update(version=2)),
    "one key more": edited(lambda record: record.update(more=1)),
}
BESIDE = ["phase-7", "model/added_tokens.json", "model/chat_template.jinja", ".hidden", "model/.tmpXXXX"]


@pytest.mark.parametrize("kind", OF_MANIFESTS)
def test_a_manifest_vouches_for_itself(folder: Path, kind: str) -> None:
    assert len(OF_MANIFESTS) == 21
    OF_MANIFESTS[kind](folder)
    for read in (read_manifest, check_contents, lambda _: NODE.is_complete(folder.parent.parent)):
        with pytest.raises(UserError, match=str(folder / MANIFEST)) as said:
            read(folder)
        assert "\n" not in str(said.value)


def test_a_manifest_sealed_anew_is_still_bound_to_its_fingerprint(folder: Path) -> None:
    record = unseal(folder / MANIFEST)
    assert record is not None
    (folder / MANIFEST).write_text(seal({**record, "settings": {"k": 61}}))
    with pytest.raises(UserError, match="not those of its fingerprint"):
        read_manifest(folder)


def test_a_manifest_is_bound_to_its_place(folder: Path) -> None:
    other = folder.with_name("0123456789abcdef")
    shutil.copytree(folder, other)
    with pytest.raises(UserError, match=f"{other}: holds {NODE}"):
        read_manifest(other)


def test_a_copy_of_all_outputs_is_as_good(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert read_manifest(tmp_path / "copy" / str(NODE)) == read_manifest(folder)


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("is_folder", [False, True])
def test_what_lies_beside_is_named(folder: Path, name: str, is_folder: bool) -> None:
    assert len(BESIDE) == 5
    (folder / name).mkdir() if is_folder else (folder / name).write_text("{}")
    with pytest.raises(UserError, match=f"{folder / name}: does not belong"):
        read_manifest(folder)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


DAMAGE = (halve, flip, grow, as_folder, Path.unlink, lambda path: os.truncate(path, 0))


@pytest.mark.parametrize("number", range(len(DAMAGE)))
@pytest.mark.parametrize("name", ["rows.jsonl", "model/weights.raw"])
@pytest.mark.parametrize("small_bytes", [0, 1 << 18])
def test_every_damage_to_a_file_is_named_whatever_its_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str, small_bytes: int
) -> None:
    monkeypatch.setattr(manifests, "SMALL_BYTES", small_bytes)
    read_manifest(folder)
    DAMAGE[number](folder / name)
    with pytest.raises(UserError, match=str(folder / name)):
        read_manifest(folder)


def test_a_large_file_whose_time_hides_the_change_is_found_when_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "SMALL_BYTES", 0)
    path = folder / "rows.jsonl"
    time_ns = path.stat().st_mtime_ns
    flip(path)
    os.utime(path, ns=(time_ns, time_ns))
    read_manifest(folder)
    for read in (lambda: check_contents(folder), lambda: file_of(folder, "rows.jsonl")):
        with pytest.raises(UserError, match=str(path)):
            read()


def test_large_files_of_a_copied_artefact_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "SMALL_BYTES", 0)
    read: list[str] = []
    digest = manifests.known_digest
    monkeypatch.setattr(manifests, "known_digest", lambda path: read.append(path.name) or digest(path))
    os.utime(folder / "rows.jsonl")
    for _ in range(2):
        read_manifest(folder)
    assert read == ["rows.jsonl"]


def test_a_file_that_the_artefact_does_not_have_is_told(folder: Path) -> None:
    assert file_of(folder, "rows.jsonl") == folder / "rows.jsonl"
    with pytest.raises(UserError, match="has no such file"):
        file_of(folder, "corrupted.jsonl")
