"""Files of rows by what they are, not by their names: JSON Lines, an array of objects, Parquet; compressed too. And
files of plain text.

What is not read is a `UserError` with the file, the line where there is one, and what to do.
"""

import bz2
import gzip
import json
import lzma
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from srd.errors import UserError, first_line

Row = TypeVar("Row")
MAX_LINE_BYTES = 16 << 20
"""A row of 16 MiB has millions of tokens: no data set of texts, but a file of another kind."""
HEAD_BYTES = 4096
OPENERS: dict[bytes, Callable[[Path, str], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""How a compressed file is read, by its first bytes."""
REFUSED = {
    b"version https://git-lfs": "a Git LFS pointer, not the data; run `git lfs pull` in its repository",
    b"\x28\xb5\x2f\xfd": "Zstandard, which is not read; unpack it with `zstd -d`",
    b"PK\x03\x04": "a zip archive, which is not read; unpack it",
    b"ARROW1": "an Arrow file, which is not read; save it as Parquet or JSON Lines",
    b"\xff\xfe": "UTF-16, which is not read; convert it to UTF-8",
    b"\xfe\xff": "UTF-16, which is not read; convert it to UTF-8",
    b"<": "a page of HTML or XML, not the data; download the file itself",
}
"""What else a file may be, by its first bytes, and what to do about it."""
BOM = b"\xef\xbb\xbf"
READ = "expected JSON Lines, a JSON array of objects, or Parquet (plain, or packed with gzip, bzip2 or xz)"


def check_readable(path: Path, key: str) -> None:
    """A `UserError` for what is no regular file, or one that may not be read."""
    if not path.exists():
        raise UserError(f"{key}={path}: no such file or folder; {READ}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"{key}={path}: not a regular file (a pipe, device or folder); save the rows to a file first")
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(
            f"{key}={path}: cannot be read ({error.strerror}); give yourself the right to read it"
        ) from None


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place (`file:line` or `file[row]`) and object of every row; numbers in JSON are the text that they are there."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    yield from _parquet(path) if head.startswith(b"PAR1") else _unpacked(path, head, _rows)


def read_paragraphs(path: Path) -> Iterator[tuple[str, str]]:
    """Place (`file:line`) and text of everything between blank lines in a file of plain text."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    yield from _unpacked(path, head, _paragraphs)


def _unpacked(
    path: Path, head: bytes, read: Callable[[Path, BinaryIO], Iterator[tuple[str, Row]]]
) -> Iterator[tuple[str, Row]]:
    """What `read` finds in a file, unpacked where its first bytes say that it is packed."""
    opener: Any = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
    number, packed = 0, opener is not None
    if opener is None and path.suffix == ".gz":
        raise UserError(f"{path}: broken gzip file (it does not begin as one); fetch or write it again")
    try:
        with (opener or Path.open)(path, "rb") as file:
            for where, row in read(path, file):
                number += 1
                yield where, row
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
        if not packed:
            raise
        raise UserError(
            f"{path}: broken {'gzip' if opener is gzip.open else 'packed'} file after row {number} "
            f"({first_line(error)}); fetch or write it again"
        ) from None


def _rows(path: Path, file: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of an unpacked stream, by how it begins."""
    number = 1
    line = begin = _line(path, file, number).removeprefix(BOM)
    while line and not begin.strip():
        line = begin = _line(path, file, number := number + 1)
    _refuse(path, begin.lstrip(), REFUSED)
    if begin.startswith(b"PAR1"):
        raise UserError(f"{path}: packed Parquet; unpack it, Parquet is packed inside")
    if not line:
        raise _empty(path)
    if begin.lstrip().startswith(b"["):
        yield from _array(path, begin + file.read(), number)
        return
    while line:
        if begin.strip():
            where = f"{path}:{number}"
            yield where, _object(_parsed(begin, where), where)
        line = begin = _line(path, file, number := number + 1)


def _paragraphs(path: Path, file: BinaryIO) -> Iterator[tuple[str, str]]:
    """The texts between the blank lines of an unpacked stream."""
    number, lines, found = 0, [], False
    for number, raw in enumerate(file, start=1):
        if number == 1:
            raw = raw.removeprefix(BOM)
            _refuse(path, raw, {magic: what for magic, what in REFUSED.items() if magic != b"<"})
        try:
            line = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise _not_utf8(f"{path}:{number}", error) from None
        if line.strip():
            lines.append(line)
        elif lines:
            yield f"{path}:{number - len(lines)}", "\n".join(lines)
            found, lines = True, []
    if lines:
        yield f"{path}:{number - len(lines) + 1}", "\n".join(lines)
    elif not found:
        raise UserError(f"{path}: empty; expected text, with a blank line between two documents")


def _not_utf8(place: str, error: UnicodeDecodeError) -> UserError:
    return UserError(f"{place}: not UTF-8 (byte {error.start}); convert the file to UTF-8")


def _refuse(path: Path, begin: bytes, magics: Mapping[bytes, str]) -> None:
    for magic, what in magics.items():
        if begin.startswith(magic):
            raise UserError(f"{path}: {what}")


def _line(path: Path, file: BinaryIO, number: int) -> bytes:
    line = file.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES and not line.lstrip().startswith(b"["):
        raise UserError(
            f"{path}:{number}: a line of more than {MAX_LINE_BYTES >> 20} MiB; expected one JSON object a line, each a "
            "row of text; split or drop the row"
        )
    return line


def _array(path: Path, text: bytes, line: int) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = _parsed(text, f"{path}:{line}", whole=True)
    if not rows:
        raise _empty(path)
    for number, row in enumerate(rows):
        yield f"{path}[{number}]", _object(row, f"{path}[{number}]")


def _parsed(text: bytes, where: str, whole: bool = False) -> Any:
    """JSON with its numbers as text, in which no key comes twice; `where` begins the place of an error."""
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_int=str,
            parse_float=str,
            parse_constant=_not_a_number,
        )
    except UnicodeDecodeError as error:
        line = 1 + text[: error.start].count(b"\n")
        place = f"{where.rpartition(':')[0]}:{line}" if whole else where
        raise _not_utf8(place, error) from None
    except json.JSONDecodeError as error:
        place = f"{where.rpartition(':')[0]}:{error.lineno}" if whole else where
        raise UserError(f"{place}: not JSON ({error.msg}, column {error.colno}); {READ}") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply to be a row of text; mend or drop it") from None
    except _BadRowError as error:
        raise UserError(f"{where}: {error}") from None


class _BadRowError(Exception):
    """What is wrong with an object that is being read."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _BadRowError(f"the key '{twice}' comes twice in one object; which of its values is meant? mend the row")
    return row


def _not_a_number(name: str) -> Any:
    raise _BadRowError(f"{name} is not JSON; write it as text or leave it out")


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a JSON object, found {_kind(row)}")
    return row


def _kind(value: Any) -> str:
    names = {list: "a list", bool: "true or false", type(None): "null", str: "text or a number"}
    return names.get(type(value), type(value).__name__)


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    yield f"{path}[{number}]", row
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: broken Parquet file ({first_line(error)}); fetch or write it again") from None
    if number == 0:
        raise _empty(path)


def _empty(path: Path) -> UserError:
    return UserError(f"{path}: empty; expected one JSON object a line, or rows of another kind that is read")
