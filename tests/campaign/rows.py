"""Odd data: rows with something odd in some of them, in several kinds of files, and what must become of each."""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.campaign.files import EVEN, KINDS, name_of

TEXTS = {
    "special tokens spelt out": "say <eos> and <pad> <|im_end|>",
    "another script": "Что делает лампа? 数は 🙂 مرحبا",
    "a long line": "word " * 40_000,
    "control characters": "a\u0000b\u2028c\u0085d\u007f",
    "blanks around": "  \n two \t ",
    "combining letters": "e\u0301 \ufeff \u202e x",
    "JSON in text": '{"instruction": "x"}\n[]',
}
"""Texts that are texts, however odd: they have to come through as they are."""
VALUES = {
    "null": None,
    "number": 3,
    "fraction": 0.5,
    "true": True,
    "false": False,
    "list": ["x"],
    "object": {"a": 1},
    "empty list": [],
}
"""Values of a wrong type, for a column of text: refused with file and line, or text."""
LINES = {
    "not JSON": b'{"instruction": "cut',
    "not an object": b"[1, 2]",
    "not UTF-8": b'{"instruction": "\xff\xfe", "output": "x"}',
    "two objects": b'{"instruction": "a", "output": "b"} {"instruction": "c", "output": "d"}',
    "no output": b'{"instruction": "a"}',
    "no instruction": b'{"output": "a"}',
    "deep nesting": b'{"instruction": "a", "output": "b", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "half a surrogate": b'{"instruction": "a \\ud800", "output": "b"}',
    "an empty object": b"{}",
}
"""Lines that are to be refused with file and number."""


@dataclass
class File:
    """A data file and what is known of it."""

    what: list[str] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    sound: list[dict[str, Any]] = field(default_factory=list)
    """Rows that have to come through as they are, but for repeats and empty responses."""
    refused: list[int] = field(default_factory=list)
    """Numbers of the lines of which one has to be named."""
    doubtful: list[int] = field(default_factory=list)
    """Numbers of the lines that may be named or read."""
    kind: str = "lines"

    @property
    def name(self) -> str:
        """What the file is called."""
        return name_of(self.kind)


def draw(rng: Random) -> File:
    """A file of a few dozen rows, some of them odd."""
    file = File()
    rows: list[dict[str, Any]] = [
        {
            "instruction": f"Name thing {i}",
            "input": rng.choice(["", "briefly"]),
            "output": f"thing {i} {'so ' * (i % 4)}",
        }
        for i in range(rng.randint(14, 40))
    ]
    for row in rows:
        _add(file, row)
    if rng.random() < 0.35:
        file.kind = rng.choice(KINDS)
        file.what.append(file.kind)
    for _ in range(0 if file.kind in EVEN else rng.randint(0, 3)):
        _oddity(rng, file, rows)
    return file


def _oddity(rng: Random, file: File, rows: list[dict[str, Any]]) -> None:
    """One more line, odd in one of the ways."""
    row = {"instruction": f"Tell {rng.random()}", "input": "", "output": "some words"}
    column = rng.choice(["instruction", "input", "output"])
    way = rng.choice(["text", "text", "value", "line", "column", "repeat", "empty", "outputs", "key twice"])
    file.what.append(way)
    if way == "text":
        name = rng.choice(list(TEXTS))
        file.what[-1] = f"{name} in {column}"
        _add(file, row | {column: TEXTS[name]})
    elif way == "value":
        name = rng.choice(list(VALUES))
        file.what[-1] = f"{name} in {column}"
        file.lines.append(json.dumps(row | {column: VALUES[name]}).encode())
        file.doubtful.append(len(file.lines))
        if name == "object":
            file.refused.append(len(file.lines))
    elif way == "line":
        name = rng.choice(list(LINES))
        file.what[-1] = name
        file.lines.append(LINES[name])
        file.refused.append(len(file.lines))
    elif way == "column":
        _add(file, row | {rng.choice(["system", "history", "id", ""]): rng.choice(["x", None, [["a", "b"]]])})
    elif way == "repeat":
        _add(file, dict(rng.choice(rows)))
    elif way == "empty":
        file.what[-1] = f"empty {column}"
        _add(file, row | {column: rng.choice(["", "  "])})
    elif way == "outputs":
        _add(file, row | {"output": ["one", "two"]})
    else:
        file.lines.append(b'{"instruction": "a", "instruction": "b", "output": "c"}')
        file.doubtful.append(len(file.lines))


def _add(file: File, row: dict[str, Any]) -> None:
    file.lines.append(json.dumps(row, ensure_ascii=False).encode())
    file.sound.append(row)
