"""Shapes stand in the annotations, and a test that breaks one fails at the function that was called."""

import ast
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from srd.distillation.chunks import LossSums
from srd.distillation.divergences import forward_kl
from srd.distillation.loss import cross_entropy, distillation_loss
from srd.generation.sampling import draw
from srd.models.heads import head_logits
from srd.selection.ranking import chosen, mean_ranks
from srd.text.batches import position_ids_of
from tests.conftest import ROOT
from tests.small import model

KINDS = {"Bool", "Float", "Int", "Shaped", "UInt8"}
WRONG: dict[str, Callable[[], object]] = {
    "distillation: teacher and student of two vocabularies": lambda: forward_kl(torch.zeros(3, 5), torch.zeros(3, 6)),
    "distillation: a label too few": lambda: cross_entropy(torch.zeros(3, 5), torch.zeros(2, dtype=torch.long)),
    "distillation: labels that are no integers": lambda: cross_entropy(torch.zeros(3, 5), torch.zeros(3)),
    "distillation: a mask over other positions": lambda: distillation_loss(
        torch.zeros(3, 5),
        torch.zeros(3, 5),
        torch.zeros(3, dtype=torch.long),
        "forward_kl",
        referenced=torch.ones(4, dtype=torch.bool),
    ),
    "distillation: sums that are none": lambda: LossSums(torch.zeros(3)),
    "models: hidden states that are not gathered": lambda: head_logits(model(), torch.zeros(2, 3, 16), 300),
    "text: a mask of one row without its axis": lambda: position_ids_of(torch.ones(4, dtype=torch.long)),
    "generation: two numbers for three rows": lambda: draw(torch.zeros(3, 5), torch.zeros(2)),
    "selection: ranks of a table": lambda: mean_ranks(np.zeros((3, 2))),
    "selection: rows chosen by floats": lambda: chosen({"id": np.array(["a", "b"])}, np.array([1.0, 0.0])),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_shape_is_refused(case: str) -> None:
    assert {case.split(":")[0] for case in WRONG} == {"distillation", "generation", "models", "selection", "text"}
    with pytest.raises(jaxtyping.TypeCheckError):
        WRONG[case]()


def test_right_shapes_pass() -> None:
    logits, labels = torch.randn(3, 5), torch.zeros(3, dtype=torch.long)
    assert distillation_loss(logits, logits, labels, "forward_kl").loss.shape == ()
    assert forward_kl(logits.view(3, 1, 5), logits.view(3, 1, 5)).shape == (3, 1)


def files(where: str) -> list[Path]:
    path = ROOT / "srd" / where
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def annotated(path: Path) -> list[str]:
    """Functions of a file with a shape in the type of an argument or of what they return."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            hints = [hint for hint in [*(a.annotation for a in node.args.args), node.returns] if hint]
            names = {name.id for hint in hints for name in ast.walk(hint) if isinstance(name, ast.Name)}
            if names & KINDS:
                found.append(node.name)
    return found


@pytest.mark.parametrize(
    ("where", "least"),
    [
        ("distillation", 28),
        ("generation", 8),
        ("models/heads.py", 8),
        ("selection", 3),
        ("text/batches.py", 1),
        ("training/step.py", 1),
    ],
)
def test_functions_of_tensors_say_their_shapes(where: str, least: int) -> None:
    found = [name for path in files(where) for name in annotated(path)]
    assert len(found) >= least, found


def test_no_function_hands_on_a_tensor_without_its_shape() -> None:
    """Where a bare `Tensor` stands in a signature its axes are really free, and the list says why."""
    free = {
        "by_name": "sums by name, scalars all of them",
        "forward": "autograd's signature: inputs of any kind",
        "backward": "autograd's signature: gradients of any kind",
        "entering_head": "the forward pass's arguments by name",
        "inputs": "the forward pass's arguments by name",
        "take": "a hook sees what a model passes",
    }
    bare = set()
    for where in ("distillation", "generation", "models/heads.py", "text/batches.py"):
        for path in files(where):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    hints = [*(a.annotation for a in [*node.args.args, node.args.vararg] if a), node.returns]
                    bare |= {node.name for hint in hints if hint and "Tensor" in outside_shapes(hint)}
    assert bare == set(free)


def outside_shapes(hint: ast.expr) -> set[str]:
    """Names in an annotation, those within `Float[…]` and its like left out."""
    if isinstance(hint, ast.Name):
        return {hint.id}
    if isinstance(hint, ast.Subscript) and isinstance(hint.value, ast.Name) and hint.value.id in KINDS:
        return set()
    inner = [child for child in ast.iter_child_nodes(hint) if isinstance(child, ast.expr)]
    return {name for child in inner for name in outside_shapes(child)}


def test_users_run_without_the_checks() -> None:
    """No file of the program imports the checker, and two that the graph reads know tensors by name only."""
    paths = sorted((ROOT / "srd").rglob("*.py"))
    assert len(paths) > 100
    assert not [path for path in paths if "beartype" in path.read_text()]
    for name in ("distillation/divergences.py", "selection/ranking.py"):
        top = {
            alias.module
            for alias in ast.parse((ROOT / "srd" / name).read_text()).body
            if isinstance(alias, ast.ImportFrom)
        }
        assert not top & {"torch", "jaxtyping"}, name
