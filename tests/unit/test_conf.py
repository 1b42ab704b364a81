"""The files of `conf/`: each says what it is, none repeats another, none sets what is not its own to set."""

from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from srd.cli import main
from srd.commands.compose import conf_folder, options
from srd.config import Model
from tests.small import config

FILES = sorted(conf_folder().rglob("*.yaml"))
PACKAGE = "# @package"


def comments(path: Path) -> list[str]:
    """The lines of a file's header, without the one that Hydra reads."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if lines[0].startswith(PACKAGE):
        lines = lines[1:]
    header = []
    for line in lines:
        if not line.startswith("#"):
            break
        header.append(line)
    return header


def test_every_file_says_what_it_is() -> None:
    assert not [str(path) for path in FILES if not comments(path)]
    assert len(FILES) > 90


def test_the_first_line_of_an_option_is_a_sentence_that_can_be_listed() -> None:
    """`srd ls` shows the first line alone."""
    listed = [path for path in FILES if path.parent != conf_folder()]
    assert not [str(path) for path in listed if not comments(path)[0].endswith(".")]
    assert not [str(path) for path in FILES if max(map(len, path.read_text(encoding="utf-8").splitlines())) > 120]
    assert len(listed) > 90


def test_a_model_brings_nothing_but_a_model() -> None:
    """Without a package or a defaults list of its own, what a file of a group sets lies in the group's section."""
    models = options("model")
    for name, path in models.items():
        assert PACKAGE not in path.read_text(encoding="utf-8"), name
        assert set(OmegaConf.load(path)) <= {field.name for field in fields(Model)}, name
    assert len(models) == 7


def test_every_recipe_is_a_models() -> None:
    """A recipe comes with the model of its name; one of another name would never be read."""
    assert options("recipe").keys() <= options("model").keys()
    assert len(options("recipe")) == 1


def test_no_two_experiments_repeat_each_other() -> None:
    """Three settings in a row that stand in two files belong into one that both start from."""
    places: dict[tuple[str, ...], set[str]] = {}
    experiments = options("experiment")
    for name, path in experiments.items():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
        for three in zip(lines, lines[1:], lines[2:], strict=False):
            places.setdefault(three, set()).add(name)
    assert not {lines: names for lines, names in places.items() if len(names) > 1}
    assert len(experiments) > 25
    assert len(places) > 100


def test_every_section_stands_in_the_table_of_contents() -> None:
    contents = (conf_folder() / "config.yaml").read_text(encoding="utf-8")
    sections = [field.name for field in fields(type(config()))]
    assert not [name for name in sections if f"\n#   {name} " not in contents and f"\n  - {name}: " not in contents]
    assert len(sections) == 21


def lengths(*overrides: str) -> list[int]:
    """The longest answer of every decoding of a run."""
    cfg = config(*overrides)
    written = [cfg.method.answers, cfg.method.student_data.generation]
    decodings = [cfg.reflect.generation, *written, cfg.evaluate.generation]
    return [decoding.max_new_tokens for decoding in decodings]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [32, 32, 32, 32]),
        (["experiment=gpt2/srd"], [256, 256, 256, 256]),
        (["generation.max_new_tokens=7"], [7, 7, 7, 7]),
        (["experiment=smollm2_dolly", "generation.max_new_tokens=7"], [7, 7, 7, 7]),
        (["generation.max_new_tokens=7", "evaluate.generation.max_new_tokens=5"], [7, 7, 7, 5]),
        (["experiment=gpt2/srd", "debug=overfit"], [256, 256, 256, 32]),
    ],
)
def test_decodings_inherit_one_length_unless_they_set_their_own(overrides: list[str], expected: list[int]) -> None:
    assert lengths(*overrides) == expected


def test_what_an_option_sets_wins_over_what_it_would_inherit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option of one's own beside the recipe of the default model, which is greedy and has one seed."""
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate/own.yaml").write_text(
        "# Ours.\nsuites: {heldout: null}\nseeds: [1, 2]\ngeneration: {max_new_tokens: 5, temperature: 0.7}\n"
    )
    words = ["run", "--cfg", "job", "--resolve", f"hydra.searchpath=[file://{tmp_path}]", "evaluate=own"]
    assert main(words) == 0
    printed = OmegaConf.create(capsys.readouterr().out)
    assert printed.evaluate.generation.max_new_tokens == 5
    assert printed.evaluate.generation.temperature == 0.7
    assert printed.evaluate.seeds == [1, 2]
    assert printed.reflect.generation.max_new_tokens == 32
