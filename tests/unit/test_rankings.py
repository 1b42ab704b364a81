"""What is said of a ranking: agreement of its signals, likeness to another, and whether that differs in seeds alone."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srd.report.rankings import agreement, beside, quality, repetitions
from srd.selection.ranking import rank
from srd.store.artefacts import Node, build
from srd.store.columns import Columns, write_columns

COUNT = 40
IDS = np.array([f"{i:016x}" for i in range(COUNT)])
RISING = np.arange(COUNT, dtype=np.float64)


def ranking(outputs: Path, values: Columns, reflect_seed: int = 1, **settings: Any) -> Path:
    """A ranking of these difficulties, made of a reflection that has a seed."""
    reflect = Node("reflect", 1, {"seeds": [reflect_seed], "width": 3})
    build(reflect, outputs, lambda work: work.leaves.clear())
    node = Node("rank", 1, {"signals": list(values), **settings}, {"reflections": reflect})

    def make(work: Any) -> None:
        work.leaves.add("ranking.jsonl")
        write_columns(work.path / "ranking.jsonl", rank({"id": IDS, **values}, 60.0))

    return build(node, outputs, make)


def test_agreement_is_spearman_s_of_every_two_signals(tmp_path: Path) -> None:
    values = {"a": RISING, "b": RISING**3, "c": -RISING, "flat": np.zeros(COUNT)}
    assert agreement(ranking(tmp_path, values)).split(", ") == [
        *("a and b 1", "a and c -1.000", "a and flat –", "b and c -1.000", "b and flat –", "c and flat –")
    ]
    assert agreement(ranking(tmp_path, {"a": RISING})) == ""


def test_two_orders_are_compared_by_their_ranks_and_by_whom_they_keep(tmp_path: Path) -> None:
    one, same, turned = (ranking(tmp_path, {"a": sign * RISING}, seed) for sign, seed in ((1, 1), (1, 2), (-1, 3)))
    assert beside(one, same).startswith("Spearman 1 over 40 samples; kept in common 100.0 % at λ = 0.25")
    assert beside(one, turned) == (
        "Spearman -1.000 over 40 samples; kept in common 0.0 % at λ = 0.25, 0.0 % at λ = 0.5, 66.7 % at λ = 0.75"
    )


def test_a_repetition_differs_in_seeds_alone(tmp_path: Path) -> None:
    one = ranking(tmp_path, {"a": RISING}, seed=1)
    again = [ranking(tmp_path, {"a": RISING}, 2, seed=1), ranking(tmp_path, {"a": RISING}, seed=2)]
    ranking(tmp_path, {"b": RISING})
    ranking(tmp_path, {"a": RISING}, rrf_k=10, seed=1)
    assert sorted(repetitions(tmp_path, one)) == sorted(again)
    assert list(quality(tmp_path, one)) == [f"other seed, rank/{path.name}" for path in repetitions(tmp_path, one)]
    assert all(words.startswith("Spearman 1 ") for words in quality(tmp_path, one).values())


@pytest.mark.parametrize("cut", [["engine.generation_sequences=3", "engine.micro_batch_tokens=128"]])
@pytest.mark.slow
def test_another_cut_of_the_batches_orders_alike(cut: list[str], cli: Any, smoke: list[str], tmp_path: Path) -> None:
    words = [*smoke, "dataset.limit=8"]
    cli("run", *words, "evaluate.targets=[student]", "outputs=one", cwd=tmp_path)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    made = []
    for name, engine in (("one", []), ("other", cut)):
        for stage in ("reflect", "rank"):
            cli(stage, *words, *engine, f"outputs={name}", cwd=tmp_path)
        made += [path for path in (tmp_path / name / "rank").iterdir() if path.is_dir()]
    assert len(made) == 2
    assert beside(*made).startswith("Spearman 1 ")
    done = cli("show", *(str(path) for path in made), cwd=tmp_path)
    assert "Spearman 1 " in done.stdout
