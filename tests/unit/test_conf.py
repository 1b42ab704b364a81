"""The files of `conf/` as they are read: listed by their first line, inherited from, and set over one another."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from srd.cli import main
from srd.commands.schema import conf_folder
from tests.composing import config

FILES = sorted(conf_folder().rglob("*.yaml"))


def headline(path: Path) -> str:
    """The first line of a file that Hydra does not read."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[1] if lines[0].startswith("# @package") else lines[0]


def test_the_first_line_of_an_option_is_a_sentence_that_can_be_listed() -> None:
    """`srd ls` shows the first line alone."""
    listed = [path for path in FILES if path.parent != conf_folder()]
    assert not [str(path) for path in listed if not headline(path).endswith(".")]
    assert not [str(path) for path in FILES if max(map(len, path.read_text(encoding="utf-8").splitlines())) > 120]
    assert len(listed) > 90


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
