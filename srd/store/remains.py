"""What a killed run leaves for the next, and how far it can be believed: a saved state vouches for the files beside it.

Nothing of it is taken on trust. What does not agree with the digests in the state is made anew.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from srd.runtime import processes
from srd.store.files import put, remove, tree_digest

NEXT = ".next"


class Grown:
    """A file that grows by what is appended; its mark, length and SHA-256, says what it was when it was saved."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = 0
        self._hash = hashlib.sha256()

    def append(self, text: str) -> None:
        """Add text at the end."""
        written = text.encode()
        with self.path.open("ab") as file:
            file.write(written)
        self._bytes += len(written)
        self._hash.update(written)

    @property
    def mark(self) -> dict[str, Any]:
        """What `restore` goes back to, as JSON can hold it."""
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def restore(self, mark: dict[str, Any]) -> bool:
        """Cut off what was appended after the mark; False, with the file as it is, where it does not begin with what
        the mark says."""
        found, left = hashlib.sha256(), mark["bytes"]
        if self.path.is_file():
            with self.path.open("rb") as file:
                while left > 0 and (piece := file.read(min(left, 1 << 20))):
                    found.update(piece)
                    left -= len(piece)
        if left > 0 or found.hexdigest() != mark["sha256"]:
            return False
        self.path.touch()
        os.truncate(self.path, mark["bytes"])
        self._bytes, self._hash = mark["bytes"], found
        return True


class Vouched:
    """Files and folders that a state names by digest. A new one waits beside the old (`NAME.next`) until the state that
    names it is saved: whichever of the two a kill leaves, the state says which is right."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests: dict[str, str] = {}

    def prepare(self, name: str) -> Path:
        """Where the first process writes what shall be `name` once the state is saved; the others ask as well."""
        place = self.folder / (name + NEXT)
        if processes.is_first():  # another may ask when the first has already written
            remove(place)
        return place

    def digests(self) -> dict[str, str]:
        """By name, with what has been prepared: for the state to be saved."""
        for place in self._waiting():
            self._digests[place.name.removesuffix(NEXT)] = str(tree_digest(place))
        return dict(self._digests)

    def commit(self) -> None:
        """Put what was prepared in its place: the state that names it is saved."""
        for place in self._waiting():
            put(place, self.folder / place.name.removesuffix(NEXT))

    def restore(self, digests: dict[str, str]) -> str | None:
        """Leave of every name what the saved digests mean; the first name where neither is there, if any."""
        for name, digest in digests.items():
            place, waiting = self.folder / name, self.folder / (name + NEXT)
            if tree_digest(waiting) == digest:
                put(waiting, place)
            elif tree_digest(place) != digest:
                return name
        for place in self._waiting():
            remove(place)  # of a state that was never saved
        self._digests = dict(digests)
        return None

    def _waiting(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{NEXT}"))


def clear(folder: Path) -> None:
    """Delete everything in a folder."""
    for place in list(folder.iterdir()):
        remove(place)


def drop_all_but(folder: Path, names: list[str]) -> None:
    """Delete everything in a folder but the files of these names and the folders that they are in."""
    files = {folder / name for name in names}
    folders = {parent for path in files for parent in path.parents}
    for place in list(folder.rglob("*")):
        if place not in files and place not in folders:
            remove(place)
