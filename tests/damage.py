"""What can happen to a file on a disk, each kind by name."""

from collections.abc import Callable
from pathlib import Path

DAMAGE: dict[str, Callable[[Path], object]] = {
    "halved": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "flipped": lambda path: path.write_bytes(_flipped(path.read_bytes())),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def _flipped(content: bytes) -> bytes:
    """One bit in the middle is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def files_in(folder: Path) -> list[Path]:
    """Every file of a folder and of those in it, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
