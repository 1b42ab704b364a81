"""The house: no import runs up, no circle, files and functions of a size that a person reads at once."""

import ast
import re
import statistics
import sys
import tomllib
from itertools import pairwise

from tests.conftest import ROOT

FLOORS = [
    ["srd.__main__"],
    ["srd.cli"],
    ["srd.commands"],
    ["srd.report"],
    ["srd.plan"],
    ["srd.pipeline"],
    ["srd.stages"],
    ["srd.training"],
    ["srd.distillation"],
    ["srd.selection"],
    ["srd.generation"],
    ["srd.models"],
    ["srd.datasets", "srd.text", "srd.metrics"],
    ["srd.store"],
    ["srd.runtime"],
    ["srd.config"],
    ["srd.errors"],
]
"""Rooms from top to bottom; a room may use what stands under it. Those of one floor do not know of each other."""
PATHS = sorted((ROOT / "srd").rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in PATHS}


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2])


def imports(module: str) -> set[str]:
    """The modules of `srd` that a module imports, at its top or inside a function, but for the checker alone."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "srd":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "srd"}
    return (found & MODULES.keys()) - {"srd", module}


def test_no_import_runs_up() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    arrows = [(module, used) for module in MODULES if module != "srd" for used in imports(module)]
    assert len(arrows) > 300
    upward = [
        f"{module} uses {used}"
        for module, used in arrows
        if room_of(module) != room_of(used) and floor[room_of(module)] >= floor[room_of(used)]
    ]
    assert not upward


def test_no_module_needs_itself() -> None:
    """Circles inside a room: each module is taken away when nothing that is left needs it first."""
    needs = {module: imports(module) for module in MODULES}
    while free := [module for module, used in needs.items() if not used]:
        needs = {module: used - set(free) for module, used in needs.items() if module not in free}
    assert not needs, f"these need each other: {sorted(needs)}"


def test_every_room_is_on_a_floor() -> None:
    rooms = {room_of(module) for module in MODULES} - {"srd"}
    assert rooms == {room for rooms in FLOORS for room in rooms}


def test_files_and_functions_are_of_a_size_to_be_read() -> None:
    lines = {module: path.read_text(encoding="utf-8").count("\n") for module, path in MODULES.items()}
    written = {module: count for module, count in lines.items() if count > 0}
    assert len(written) > 70
    assert max(written.values()) <= 300, max(written, key=written.__getitem__)
    functions = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(functions) > 500
    assert max(functions.values()) <= 60, max(functions, key=functions.__getitem__)
    assert 80 <= statistics.median(written.values()) <= 150
    assert all(above != below for above, below in pairwise(FLOORS))


def test_every_dependency_is_imported_and_every_import_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {re.split(r"[><=]", line)[0].replace("-", "_") for line in project["dependencies"]}
    extras = {"math_verify", "peft", "rouge_score", "sacrebleu", "vllm", "wandb"}
    hydra = {"hydra": "hydra_core"}
    used = set()
    for path in PATHS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                used.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
    foreign = {hydra.get(name, name) for name in used - set(sys.stdlib_module_names) - {"srd"}}
    assert foreign - extras == required
    assert len(required) < 17
