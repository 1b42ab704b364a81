"""The embedded data set: what the running Python's standard library says of itself.

Instruction: qualified name and signature of a documented public function, method or class.
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

from srd.config import Dataset

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
    seen: set[str] = set()
    for path, parts in _files():
        module = ".".join(part for part in parts if part != "__init__")
        for signature, sentence in documented(path.read_bytes(), module):
            # An inherited docstring repeated word for word would be in the training and in the test split.
            if sentence.lower() not in seen:
                seen.add(sentence.lower())
                yield {"instruction": signature, "input": "", "output": sentence, "split": "train", "where": module}


def documented(code: bytes, module: str) -> Iterator[tuple[str, str]]:
    """(signature, first sentence of the docstring) of every documented public object in a source file."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # the library ships files for other versions
        return
    yield from _walk(tree, module)


def _walk(parent: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(parent):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        name = f"{prefix}.{node.name}"
        sentence = _first_sentence(ast.get_docstring(node) or "")
        if len(sentence.split()) >= MIN_WORDS:
            yield _signature(node, name), sentence
        yield from _walk(node, name)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, name: str) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        return f"class {name}({bases})" if bases else f"class {name}"
    return f"{name}({ast.unparse(node.args)})"


def _first_sentence(docstring: str) -> str:
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0]
