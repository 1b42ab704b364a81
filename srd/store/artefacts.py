"""Artefacts: what a stage leaves in `outputs/<stage>/<fingerprint>/`, complete or absent.

A `Node` is an artefact's identity: its stage, the settings that it reads and the nodes it is made from.
`build` makes one under a lock, in a `.partial` folder that a killed run leaves for the next to continue,
writes the manifest last and renames the folder into place.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from omegaconf import OmegaConf

from srd.config import Engine, Logger
from srd.errors import UserError
from srd.runtime.clock import Clock
from srd.runtime.progress import say
from srd.store.files import digest, remove, replace_text
from srd.store.locks import hold
from srd.store.manifests import MANIFEST, check_contents, fingerprint_of, read_manifest, read_record
from srd.store.provenance import provenance
from srd.store.remains import clear, drop_all_but
from srd.store.seals import seal

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
        return fingerprint_of(self.stage, self.version, self.settings, inputs)

    def folder(self, outputs: str | Path) -> Path:
        return Path(outputs) / self.stage / self.fingerprint

    def is_complete(self, outputs: str | Path) -> bool:
        """Whether the artefact is there; one that is not as it was made is a `UserError` (see `read_manifest`)."""
        if not (self.folder(outputs) / MANIFEST).exists():
            return False
        read_manifest(self.folder(outputs))
        return True

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
    """Costs to record besides the seconds: tokens, passes, counts worth keeping."""
    clock: Clock = field(default_factory=Clock)
    """The seconds of the ledger, by part: all of the work, without what a kill threw away."""
    record: dict[str, Any] = field(default_factory=dict)
    """What else belongs into the manifest."""
    leaves: set[str] = field(default_factory=set)
    """Names of the files and folders that are the artefact; all else goes when it is complete, not before."""
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
    with hold(folder.with_name(f".{folder.name}.lock"), str(node)):
        # Asked again, because another process may have finished it while this one waited for the lock.
        if node.is_complete(outputs):
            say(f"{node}  made by another process, reused")
            return folder
        partial = folder.with_name(folder.name + ".partial")
        if not _is_whole(partial):
            _fill(node, outputs, partial, make)
        _finish(partial, folder)
    say(f"{node}  done in {read_manifest(folder)['ledger']['seconds']:.1f} s")
    return folder


def _is_whole(partial: Path) -> bool:
    """Whether everything was made, and the kill came before the rename: there is a manifest, and it holds."""
    if not (partial / MANIFEST).exists():
        return False
    try:
        for name, entry in read_record(partial)["files"].items():
            if not (partial / name).is_file() or digest(partial / name) != entry["sha256"]:
                raise UserError(f"{partial / name}: changed since it was made")
    except UserError as error:
        say(f"{error}; made anew")
        clear(partial)
        return False
    return True


def _fill(node: Node, outputs: str | Path, partial: Path, make: Callable[[Work], None]) -> None:
    """Make the files of an artefact and its manifest in the partial folder."""
    say(f"{node}  {'continued' if partial.exists() else 'started'}")
    partial.mkdir(exist_ok=True)
    begin, work = time.time(), Work(node, partial, {})
    with work.clock.part("input checks"):
        work.inputs |= {name: require(child, outputs) for name, child in node.inputs.items()}
    make(work)
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
    check_contents(folder)
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


def _write_manifest(work: Work, begin: float) -> None:
    """Hash what was made and write the manifest: from here on the artefact is complete."""
    files = {path.relative_to(work.path): path for path in work.path.rglob("*") if path.is_file()}
    with work.clock.part("hashes and provenance"):
        listed = {
            name.as_posix(): {"sha256": digest(path), "bytes": path.stat().st_size, "rows": _rows(path)}
            for name, path in sorted(files.items())
            if name.parts[0] in work.leaves
        }
        origin = provenance()
    manifest = {
        "stage": work.node.stage,
        "version": work.node.version,
        "fingerprint": work.node.fingerprint,
        "settings": work.node.settings,
        "inputs": {name: str(child) for name, child in work.node.inputs.items()},
        "files": listed,
        "ledger": {**work.ledger, **work.clock.reading()},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
        **work.record,
        **origin,
    }
    replace_text(work.path / MANIFEST, seal(manifest, indent=1))


def _finish(partial: Path, folder: Path) -> None:
    """Drop what the manifest does not name and rename the folder into place; a killed run repeats it."""
    drop_all_but(partial, [*read_record(partial)["files"], MANIFEST])
    remove(folder)  # without a manifest it was never an artefact
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
