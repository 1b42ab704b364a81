"""Files: their digests, and writing that a reader never sees half done.

What is being written has a name that ends in `.tmp`, a file or a folder; a kill may leave it, and the next to write
there clears it away.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

UNFINISHED = ".tmp"


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what safetensors and tokenizers say of a failed write to `path` into the `OSError` that it was."""
    try:
        yield
    except OSError:
        raise
    # Of all classes, because tokenizers raises a bare `Exception`: what both libraries do say is the system's number.
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_digest(path: Path) -> str:
    """SHA-256 of a file's content, read once a process while nothing says that it has changed."""
    stat = path.stat()
    return _digest_of(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@cache
def _digest_of(path: Path, state: tuple[int, ...]) -> str:
    return digest(path)


def tree_digest(place: Path) -> str | None:
    """Digest of a file, or of a folder's files and their names; None where there is nothing."""
    if place.is_file():
        return digest(place)
    if not place.is_dir():
        return None
    files = sorted(path for path in place.rglob("*") if not path.is_dir())
    lines = [f"{path.relative_to(place).as_posix()} {digest(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def unfinished(path: Path) -> Path:
    """Where to write what shall be `path`: beside it, with nothing there that a kill has left."""
    place = path.with_name(path.name + UNFINISHED)
    remove(place)
    return place


def remove(place: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def anew(path: Path) -> Path:
    """The path itself, to write a file at from its beginning: a folder that stands there goes."""
    if path.is_dir():
        remove(path)
    return path


def put(made: Path, place: Path) -> None:
    """Rename what was made to its place; a folder's old files go before, so a kill may leave neither there."""
    if made.is_dir() or place.is_dir():
        remove(place)
    os.replace(made, place)


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new, never a part; one writer at a time."""
    temporary = unfinished(path)
    temporary.write_text(text, encoding="utf-8")
    put(temporary, path)


def replace_tensors(path: Path, tensors: Mapping[str, "Tensor"], texts: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors so that a reader sees the old file or the new, never a part."""
    from safetensors.torch import save_file

    # In a folder of its own, because safetensors writes to a file of a random name first, which a kill would leave.
    temporary = unfinished(path)
    temporary.mkdir()
    with disk_errors(path):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / path.name, texts)
    put(temporary / path.name, path)
    temporary.rmdir()
