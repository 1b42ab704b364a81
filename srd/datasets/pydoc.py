"""The embedded data set: what the running Python's standard library says of itself.

Instruction: qualified name and signature of a documented function, method or class; private ones are for warm starts.
Response: the first sentence of its docstring. Read from the source files, nothing is imported, so it is
the same everywhere for one Python version, which is its identity.
"""

import ast
import hashlib
import platform
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from srd.config import WARMUP, Dataset

SKIPPED = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "turtledemo",
    "site-packages",
    "__pycache__",
    "pydoc_data",
    "ensurepip",
}
MIN_WORDS = 3
"""Shorter sentences ("Constructor.") say nothing of their object."""


def source(dataset: Dataset) -> dict[str, Any]:
    # Distributions leave out parts of the library, so its files belong to the identity as well.
    return {"python": platform.python_version(), "files": _listing_digest()}


@cache
def _listing_digest() -> str:
    listing = "".join(f"{'.'.join(parts)} {path.stat().st_size}\n" for path, parts in _files())
    return hashlib.sha256(listing.encode()).hexdigest()


def _files() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The source files of public modules, with the parts of their names."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if not SKIPPED & set(parts) and not any(part.startswith("_") and part != "__init__" for part in parts):
            yield path, parts


def load(dataset: Dataset) -> Iterator[dict[str, Any]]:
    found = [
        (is_private, {"instruction": signature, "input": "", "output": sentence, "where": module})
        for module, code in _modules()
        for is_private, signature, sentence in documented(code, module)
    ]
    seen: set[str] = set()
    # Public ones first: a private one that says the same is none of the data.
    for split, wanted in (("train", False), (WARMUP, True)):
        for is_private, row in found:
            # An inherited docstring repeated word for word would be in the training and in the test split.
            if is_private == wanted and row["output"].lower() not in seen:
                seen.add(row["output"].lower())
                yield row | {"split": split}


def _modules() -> Iterator[tuple[str, bytes]]:
    for path, parts in _files():
        yield ".".join(part for part in parts if part != "__init__"), path.read_bytes()


def documented(code: bytes, module: str) -> Iterator[tuple[bool, str, str]]:
    """Whether it is private, signature, first sentence of the docstring of every documented object in a source file."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # the library ships files for other versions
        return
    yield from _walk(tree, module, False)


def _walk(parent: ast.AST, prefix: str, is_private: bool) -> Iterator[tuple[bool, str, str]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name, hidden = f"{prefix}.{node.name}", is_private or node.name.startswith("_")
            sentence = _first_sentence(ast.get_docstring(node) or "")
            if len(sentence.split()) >= MIN_WORDS:
                yield hidden, _signature(node, name), sentence
            yield from _walk(node, name, hidden)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, name: str) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        return f"class {name}({bases})" if bases else f"class {name}"
    return f"{name}({ast.unparse(node.args)})"


def _first_sentence(docstring: str) -> str:
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0]
