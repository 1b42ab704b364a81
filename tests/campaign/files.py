"""The kinds of files that rows come in: as they are, packed, cut, of another form, or no data at all."""

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

REFUSED = ("cut gz", "empty", "html", "utf-16", "LFS pointer", "a folder", "a pipe")
"""To be refused as they are."""
DOUBTFUL = ("gz under another name", "BOM", "array", "parquet", "parquet under another name", "messages")
"""May be read or refused."""
READ = ("gz", "CRLF", "no last end")
"""To be read like plain lines."""
KINDS = (*REFUSED, *DOUBTFUL, *READ)
EVEN = ("parquet", "parquet under another name", "messages")
"""Hold rows of one form alone: none of them odd."""
REWRITTEN = ("messages",)
"""What is read from them is not column by column what was written."""
NAMES = {
    "gz": "rows.jsonl.gz",
    "cut gz": "rows.jsonl.gz",
    "array": "rows.json",
    "parquet": "rows.parquet",
    "parquet under another name": "rows.jsonl",
}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def name_of(kind: str) -> str:
    """What a file of this kind is called."""
    return NAMES.get(kind, "rows.jsonl")


def write(lines: list[bytes], kind: str, folder: Path) -> Path:
    """The lines in a file of this kind."""
    path = folder / name_of(kind)
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(content(lines, kind))
    return path


def content(lines: list[bytes], kind: str) -> bytes:
    """The bytes of a file of this kind."""
    data = b"".join(line + b"\n" for line in lines)
    fixed = {"empty": b"", "html": b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "LFS pointer": POINTER}
    if kind in fixed:
        return fixed[kind]
    if "gz" in kind:
        packed = gzip.compress(data, mtime=0)
        return packed[:-20] if kind == "cut gz" else packed
    if kind in EVEN:
        rows = [json.loads(line) for line in lines]
        return _messages(rows) if kind == "messages" else _parquet(rows)
    other = {
        "BOM": b"\xef\xbb\xbf" + data,
        "CRLF": data.replace(b"\n", b"\r\n"),
        "array": b"[" + b",\n".join(lines) + b"]",
        "utf-16": data.decode("utf-8", "replace").encode("utf-16"),
        "no last end": data.removesuffix(b"\n"),
        "lines": data,
    }
    return other[kind]


def _messages(rows: list[dict[str, Any]]) -> bytes:
    """Each row as a talk of two turns."""
    talks = [
        [
            {"role": "user", "content": "\n".join(part for part in (row["instruction"], row["input"]) if part)},
            {"role": "assistant", "content": row["output"]},
        ]
        for row in rows
    ]
    return b"".join(json.dumps({"messages": talk}).encode() + b"\n" for talk in talks)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()
