"""Damage without a broken byte: what belongs to one artefact stands in another."""

import shutil
from pathlib import Path
from random import Random
from typing import NamedTuple

MANIFEST = "manifest.json"


class Harm(NamedTuple):
    """What was done to an outputs folder."""

    path: Path
    how: str
    others: tuple[Path, ...] = ()
    """What it was exchanged with: a line may name these as well."""


def misplace(rng: Random, outputs: Path) -> Harm | None:
    """Exchange or copy whole files or folders between artefacts; none: nothing fits."""
    ways = [_folders_exchanged, _namesake, _beside]
    rng.shuffle(ways)
    for way in ways:
        if done := way(rng, outputs):
            return done
    return None


def _artefacts(outputs: Path) -> list[Path]:
    return sorted(path.parent for path in outputs.glob(f"*/*/{MANIFEST}"))


def _folders_exchanged(rng: Random, outputs: Path) -> Harm | None:
    """Two artefacts of one stage, each under the other's name."""
    found = _artefacts(outputs)
    pairs = [(one, other) for one in found for other in found if one.parent == other.parent and one < other]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return Harm(one / MANIFEST, f"exchanged with {other.relative_to(outputs)}", (other / MANIFEST,))


def _namesake(rng: Random, outputs: Path) -> Harm | None:
    """A file replaced by one of the same name and another content from another artefact."""
    files = sorted(path for folder in _artefacts(outputs) for path in folder.rglob("*") if path.is_file())
    pairs = [
        (one, other)
        for one in files
        for other in files
        if one.name == other.name and one != other and one.read_bytes() != other.read_bytes()
    ]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    shutil.copyfile(other, one)
    return Harm(one, f"replaced by {other.relative_to(outputs)}")


def _beside(rng: Random, outputs: Path) -> Harm | None:
    """A folder of an artefact once more in it, under a name that it might have."""
    folders = [path for each in _artefacts(outputs) for path in sorted(each.iterdir()) if path.is_dir()]
    if not folders:
        return None
    folder = rng.choice(folders)
    copy = folder.with_name(rng.choice(["phase-7", "best", "last", "adapter"]))
    if copy.exists():
        return None
    shutil.copytree(folder, copy)
    return Harm(copy, f"a copy of {folder.name}")
