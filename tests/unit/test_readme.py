"""What the README says is so: its commands compose, its tree is the tree, its words are all there."""

import re
import shlex

import pytest

from srd import cli
from srd.commands.compose import options
from tests.conftest import ROOT
from tests.small import config

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
        assert target.removeprefix("table-") in options("table")
    else:
        assert re.search(f"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_tree_of_the_readme_is_the_tree() -> None:
    tree = README.split("## The tree")[1].split("## ")[0]
    modules = [path.name for path in (ROOT / "srd").rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert len(modules) > 35
    assert not [name for name in modules if name.removesuffix(".py") not in tree]


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
