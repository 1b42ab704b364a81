"""The field's words, one meaning each: none of those that were given up is left in code, config or README."""

import ast
import re

import pytest

from tests.conftest import ROOT

RETIRED = {
    r"reckon\w*": "estimate",
    r"foresee\w*": "plan",
    r"settle_\w+|settled?": "choose",
    r"take_back": "restore_snapshot",
    r"Beside": "AuxiliaryLoss",
    r"Writer": "OnPolicyData",
    r"StudentRows": "StudentResponses",
    r"Live": "OnlineTeacher",
    r"[Ll]ive teacher": "online teacher",
    r"Judge|judged?": "ModelSelection, scored",
    r"Echo": "FixedHiddenStates",
    r"chance\(": "uniform",
    r"[Ss]erved": "vllm_answerer",
    r"Course": "Ramp",
    r"Places\w*": "KeyValueStore",
    r"Choice\b": "Sampler",
    r"work that stands": "without what a kill threw away",
    r"batch\.places|batch\.targets": "positions, labels",
    r"each rank|every rank|this rank": "processes",
    r"USED_SETTINGS|OFFICIAL_POWER|MADE_ON_DEMAND|REFLECTED": "the entry of the table",
}
"""Words that were given up, and what is said now."""
PLACES = [*sorted((ROOT / "srd").rglob("*.py")), *sorted((ROOT / "conf").rglob("*.yaml")), ROOT / "README.md"]


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_gone(word: str) -> None:
    pattern = re.compile(rf"(?<![\w.])(?:{word})(?!\w)")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in PLACES
        for line in path.read_text(encoding="utf-8").splitlines()
        if pattern.search(line)
    ]
    assert not found, f"say {RETIRED[word]}"
    assert len(PLACES) > 180


def test_no_name_says_nothing() -> None:
    empty = re.compile(r"utils?$|helpers?$|common$|misc$|Manager$|Handler$|Processor$")
    names = [
        node.name
        for path in PLACES
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    assert not [name for name in [*names, *(path.stem for path in PLACES)] if empty.search(name)]
    assert len(names) > 500


def test_a_name_of_several_rooms_means_one_thing() -> None:
    """Public classes and tables stand once; functions of one name are the like of each other in their rooms."""
    homes: dict[str, set[str]] = {}
    for path in PLACES:
        if path.suffix == ".py":
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                names = [node.name] if isinstance(node, ast.ClassDef) else []
                if isinstance(node, ast.Assign | ast.AnnAssign):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    names = [target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()]
                for name in names:
                    homes.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    twice = {name: sorted(files) for name, files in homes.items() if len(files) > 1}
    # Every stage has its Settings.
    assert twice.keys() <= {"Settings"}, twice
    assert len(homes) > 150
