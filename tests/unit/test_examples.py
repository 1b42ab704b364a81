"""The examples in the docstrings of what is usable without a config give what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["srd.distillation.divergences", "srd.distillation.loss", "srd.selection.ranking"])
def test_the_example_of_a_module_runs(name: str) -> None:
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
