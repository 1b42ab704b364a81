"""Artefacts: what a stage leaves in `outputs/<stage>/<fingerprint>/`, complete or absent.

A `Node` is an artefact's identity: its stage, the settings that it reads and the nodes it is made from.
`build` makes one under a lock, in a `.partial` folder that a killed run leaves for the next to continue,
writes the manifest last and renames the folder into place.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from srd.config import Engine, Logger
from srd.errors import UserError
from srd.runtime.progress import say
from srd.store.files import digest, replace_text
from srd.store.manifests import MANIFEST, read_manifest
from srd.store.provenance import provenance

Settings = TypeVar("Settings")


Context = TypeVar("Context")


@dataclass(frozen=True)
class Node:
    """Identity of an artefact: same settings and inputs, same fingerprint."""

    stage: str
    version: int
    settings: dict[str, Any]
    inputs: dict[str, "Node"] = field(default_factory=dict)
    context: Any = field(default=None, compare=False)
    """What the stage may know besides, because it changes no result: where things lie that the settings identify by
    content. Outside the fingerprint."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over stage, version, settings and the inputs' fingerprints."""
        inputs = {name: node.fingerprint for name, node in self.inputs.items()}
        text = json.dumps([self.stage, self.version, self.settings, inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def folder(self, outputs: str | Path) -> Path:
        return Path(outputs) / self.stage / self.fingerprint

    def is_complete(self, outputs: str | Path) -> bool:
        return (self.folder(outputs) / MANIFEST).is_file()

    def __str__(self) -> str:
        return f"{self.stage}/{self.fingerprint}"


@dataclass
class Work(Generic[Settings, Context]):
    """An artefact in the making: where to write, what to read, what to make."""

    node: Node
    path: Path
    inputs: dict[str, Path]
    engine: Engine = field(default_factory=Engine)
    """How it is computed; it changes no result."""
    logger: Logger = field(default_factory=Logger)
    """Where scalars go besides the artefact."""
    outputs: Path = Path("outputs")
    """Where loggers put their own files."""
    ledger: dict[str, Any] = field(default_factory=dict)
    """Costs to record: `seconds` without what a kill threw away, tokens, passes, counts worth keeping."""
    record: dict[str, Any] = field(default_factory=dict)
    """What else belongs into the manifest."""
    scratch: set[str] = field(default_factory=set)
    """Files that only a continued run needs; they go when the artefact is complete, not before."""
    kind: type[Settings] | None = None
    """The stage's settings as a dataclass."""

    @cached_property
    def settings(self) -> Settings:
        """All that may decide the result, typed: the node's settings, as they are in the fingerprint."""
        assert self.kind is not None, "the maker knows the stage's settings"
        return typed(self.kind, self.node.settings)

    @property
    def context(self) -> Context:
        """What changes no result (see `Node.context`)."""
        return self.node.context


def build(node: Node, outputs: str | Path, make: Callable[[Work], None]) -> Path:
    """The folder of `node`, made by `make` unless it is complete already; a second process waits for the first."""
    folder = node.folder(outputs)
    if node.is_complete(outputs):
        say(f"{node}  reused")
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder, node):
        # Asked again, because another process may have finished it while this one waited for the lock.
        if node.is_complete(outputs):
            say(f"{node}  made by another process, reused")
            return folder
        partial = folder.with_name(folder.name + ".partial")
        # A manifest in the partial folder: everything was made, and the kill came before the rename.
        if not (partial / MANIFEST).is_file():
            _fill(node, outputs, partial, make)
        _finish(partial, folder)
    say(f"{node}  done in {read_manifest(folder)['ledger']['seconds']:.1f} s")
    return folder


def _fill(node: Node, outputs: str | Path, partial: Path, make: Callable[[Work], None]) -> None:
    """Make the files of an artefact and its manifest in the partial folder."""
    say(f"{node}  {'continued' if partial.exists() else 'started'}")
    partial.mkdir(exist_ok=True)
    work = Work(node, partial, {name: require(child, outputs) for name, child in node.inputs.items()})
    begin = time.time()
    make(work)
    work.ledger.setdefault("seconds", time.time() - begin)
    _write_manifest(work, begin)


def prepare(outputs: str | Path) -> None:
    """Make the outputs folder; one that cannot be made or written is a `UserError`."""
    try:
        Path(outputs).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"outputs={outputs}: cannot be made ({error.strerror}); choose another folder with outputs=FOLDER"
        ) from None
    if not os.access(outputs, os.W_OK | os.X_OK):
        raise UserError(f"outputs={outputs}: no permission to write; choose another folder with outputs=FOLDER")


def require(node: Node, outputs: str | Path) -> Path:
    """The folder of a finished input, after checking every file against its manifest."""
    folder = node.folder(outputs)
    if not node.is_complete(outputs):
        role = f" role={node.settings['role']}" if node.stage == "finetune" else ""
        raise UserError(
            f"{folder}: not there yet; run `srd {node.stage}{role}` with the same overrides first, or `srd run`"
        )
    for name, entry in read_manifest(folder)["files"].items():
        path = folder / name
        if not path.is_file() or digest(path) != entry["sha256"]:
            state = "missing" if not path.exists() else "changed since it was made"
            raise UserError(f"{path}: {state}; restore it, or delete the folder {folder} to make it again")
    return folder


def closure(nodes: Iterable[Node]) -> list[Node]:
    """Every node needed for `nodes`, inputs before what is made of them, each once."""
    order: dict[str, Node] = {}

    def visit(node: Node) -> None:
        for child in node.inputs.values():
            visit(child)
        order.setdefault(str(node), node)

    for node in nodes:
        visit(node)
    return list(order.values())


@contextmanager
def _lock(folder: Path, node: Node) -> Iterator[None]:
    """Hold the artefact's lock; the system lets go of it when the process dies."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{node}  another process is making it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write_manifest(work: Work, begin: float) -> None:
    """Hash what was made and write the manifest: from here on the artefact is complete."""
    names = sorted(str(path.relative_to(work.path)) for path in work.path.rglob("*") if path.is_file())
    files = {
        name: work.path / name
        for name in names
        if name not in work.scratch and name != MANIFEST and not name.endswith(".tmp")
    }
    manifest = {
        "stage": work.node.stage,
        "version": work.node.version,
        "fingerprint": work.node.fingerprint,
        "settings": work.node.settings,
        "inputs": {name: str(child) for name, child in work.node.inputs.items()},
        "files": {
            name: {"sha256": digest(path), "bytes": path.stat().st_size, "rows": _rows(path)}
            for name, path in files.items()
        },
        "ledger": work.ledger,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
        **work.record,
        **provenance(),
    }
    replace_text(work.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def _finish(partial: Path, folder: Path) -> None:
    """Drop what the manifest does not name and rename the folder into place; a killed run repeats it."""
    named = {partial / name for name in [*read_manifest(partial)["files"], MANIFEST]}
    for path in partial.rglob("*"):
        if path.is_file() and path not in named:
            path.unlink()
    if folder.exists():
        shutil.rmtree(folder)  # without a manifest it was never an artefact
    os.replace(partial, folder)


def _rows(path: Path) -> int | None:
    if path.suffix != ".jsonl":
        return None
    with path.open("rb") as file:
        return sum(1 for _ in file)


def typed(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """`values` as a `kind`, sections too; one that the dataclass has no field for is an OmegaConf error."""
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), values))
    assert isinstance(settings, kind)
    return settings
