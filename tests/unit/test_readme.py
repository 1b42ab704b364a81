"""What the README says is so: its commands compose, its tree is the tree, its words are all there."""

import re
import shlex

import pytest

from srd import cli
from srd.commands.report import tables
from tests.composing import config
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("srd ")]
TARGETS = [
    line.split("  #")[0].split()[1] for block in BLOCKS for line in block.splitlines() if line.startswith("make ")
]


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 12
    assert len(TARGETS) >= 3


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_composes(line: str) -> None:
    word, *rest = shlex.split(line)[1:]
    if not cli.COMMANDS[word].composed:
        return
    first_of_sweep = [re.sub(r"=([^\[]*?),.*", r"=\1", each) for each in rest if each not in ("-m", "--cfg", "job")]
    assert config(*first_of_sweep)


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    if target.startswith("table-"):
        assert target.removeprefix("table-") in tables()
    else:
        assert re.search(f"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_tree_of_the_readme_is_the_tree() -> None:
    tree = README.split("## The tree")[1].split("## ")[0].split("```")[1]
    named = re.findall(r"\w+\.py", tree)
    modules = [path.name for path in (ROOT / "srd").rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert sorted(named) == sorted(modules)
    assert len(modules) > 75
    folders = [path.name for path in (ROOT / "srd").iterdir() if path.is_dir() and (path / "__init__.py").is_file()]
    groups = [path.name for path in (ROOT / "conf").iterdir() if path.is_dir()]
    assert not [name for name in [*folders, *groups] if f"{name}/" not in tree]


def test_the_way_from_the_readme_to_the_loss_and_back_is_there() -> None:
    way = re.findall(r"`((?:conf|srd)/[\w/.]+)`", README.split("From here to the loss")[1].split("\n\n")[0])
    assert len(way) == 8
    assert all((ROOT / path).is_file() for path in way)


def test_the_readme_is_short() -> None:
    assert README.count("\n") < 250
    assert "not tried" not in README


def test_the_glossary_has_every_fixed_word() -> None:
    glossary = README.split("## Words")[1].split("## ")[0]
    for word in (
        "stage",
        "phase",
        "step",
        "epoch",
        "artefact",
        "fingerprint",
        "p, q",
        "position",
        "λ",
        "sample pass",
        "ledger",
    ):
        assert f"**{word}**" in glossary, word
