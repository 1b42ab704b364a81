"""The record of a finished artefact, and the one way by which every command reads one: it is checked first.

A manifest vouches for itself (a digest over all of it), for its place (stage and fingerprint, which follow from its
settings and inputs) and for exactly the files beside it. One without a digest is refused, also where it is merely of
an older `srd`: nothing tells it from one that was edited.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from srd.errors import UserError
from srd.store.files import known_digest
from srd.store.seals import unseal

MANIFEST = "manifest.json"
FIELDS = {"stage", "version", "fingerprint", "settings", "inputs", "files", "ledger", "started"}
SMALL_BYTES = 1 << 18
"""Files up to this size are read whenever the manifest is; larger ones where their time tells of a change, and when
what is in them is read (`file_of`)."""


def fingerprint_of(stage: str, version: int, settings: dict[str, Any], inputs: Mapping[str, str]) -> str:
    """16 hex digits over stage, version, settings and the inputs' fingerprints."""
    text = json.dumps([stage, version, settings, dict(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The record of a finished artefact; what is not as it was made is a `UserError` that names it.

    Checked are the record, its place, the names and sizes of all files, and the content of those that are small or that
    have been written to since.
    """
    manifest = read_record(folder)
    name = f"{manifest['stage']}/{manifest['fingerprint']}"
    place = Path(os.path.abspath(folder))
    if f"{place.parent.name}/{place.name}" != name:
        raise UserError(f"{folder}: holds {name}; move it to its place, or delete the folder to make it again")
    _check_names(folder, manifest)
    for file, entry in manifest["files"].items():
        # Files are written before their manifest: one with a later time may have been written to since.
        if entry["bytes"] <= SMALL_BYTES or _is_later(folder / file, folder / MANIFEST):
            _check_content(folder, file, manifest)
    return manifest


def read_record(folder: Path) -> dict[str, Any]:
    """The manifest alone, without a look at the files beside it."""
    path = folder / MANIFEST
    try:
        manifest = unseal(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: no such artefact; run `srd run` with its settings again") from None
    if manifest is None or not manifest.keys() >= FIELDS:
        raise UserError(
            f"{path}: damaged, changed, or of an older srd; restore it, or delete the folder {folder} to make it again"
        )
    inputs = {name: child.partition("/")[2] for name, child in manifest["inputs"].items()}
    if manifest["fingerprint"] != fingerprint_of(manifest["stage"], manifest["version"], manifest["settings"], inputs):
        raise UserError(f"{path}: its settings are not those of its fingerprint; delete the folder {folder}")
    return manifest


def artefacts_in(outputs: Path) -> list[Path]:
    """The folders of all finished artefacts, sound or not."""
    return sorted(path.parent for path in outputs.glob(f"*/*/{MANIFEST}") if path.parent.suffix != ".partial")


def file_of(folder: Path, name: str) -> Path:
    """A file of a finished artefact, its content that which was made; any other is a `UserError`."""
    manifest = read_manifest(folder)
    if name not in manifest["files"]:
        raise UserError(f"{folder / name}: the artefact has no such file; delete the folder {folder} to make it again")
    _check_content(folder, name, manifest)
    return folder / name


def check_contents(folder: Path) -> None:
    """A `UserError` unless a finished artefact is as it was made, to the last byte."""
    manifest = read_manifest(folder)
    for name in manifest["files"]:
        _check_content(folder, name, manifest)


def _check_names(folder: Path, manifest: dict[str, Any]) -> None:
    """A `UserError` for a file that is missing, one that does not belong there, or one of another size."""
    mend = f"or delete the folder {folder} to make it again"
    files = {folder / name: entry for name, entry in manifest["files"].items()}
    expected = {folder / MANIFEST, *files}
    folders = {parent for path in files for parent in path.parents}
    there = set(folder.rglob("*"))
    for path in sorted(expected - there):
        raise UserError(f"{path}: missing; restore it, {mend}")
    for path in sorted(there - expected - folders):
        raise UserError(f"{path}: does not belong to the artefact; move it away, {mend}")
    for path, entry in files.items():
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            raise UserError(f"{path}: changed since it was made; restore it, {mend}")


def _is_later(path: Path, other: Path) -> bool:
    return path.stat().st_mtime_ns > other.stat().st_mtime_ns


def _check_content(folder: Path, name: str, manifest: dict[str, Any]) -> None:
    """A `UserError` for a file whose bytes are others than the manifest's."""
    path = folder / name
    if known_digest(path) != manifest["files"][name]["sha256"]:
        raise UserError(
            f"{path}: changed since it was made; restore it, or delete the folder {folder} to make it again"
        )
    if _is_later(path, folder / MANIFEST):
        # A copied artefact is read once and not by every command: its file gets the time that says so. Where that is
        # not allowed it is read again.
        with suppress(OSError):
            os.utime(path, ns=(path.stat().st_atime_ns, (folder / MANIFEST).stat().st_mtime_ns))


def long_name(stage: str, settings: dict[str, Any]) -> str:
    """The stage and whose it is, as a plan names it: finetune teacher, score student, evaluate distill, cache."""
    whose = {"finetune": "role", "score": "family"}.get(stage, "target")
    return f"{stage} {settings.get(whose, '')}".strip()


def ancestry(outputs: Path, name: str) -> Iterable[dict[str, Any]]:
    """Manifests of an artefact and of everything it was made from, each once."""
    seen, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            manifest = read_manifest(outputs / current)
            waiting += manifest["inputs"].values()
            yield manifest
