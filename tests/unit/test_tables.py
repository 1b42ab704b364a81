"""Every table composes, arm by arm, and its arms compare with arms that it has."""

import re
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from srd.commands.report import read_table, tables
from srd.config import Config
from srd.report.published import published
from tests.composing import config
from tests.conftest import Cli

pytestmark = pytest.mark.slow  # hundreds of compositions

ARMS = {"gpt2": 28, "gpt2-baselines": 2, "gpt2-ablation": 18, "study": 84, "study-ablation": 108, "study-noise": 12}
ARMS |= {
    "evidence": 12,
    "evidence-gpu": 84,
    "regimes": 450,
    "mbpp": 15,
    "gsm8k": 15,
    "xsum": 15,
    "iwslt2017": 15,
    "lambda": 18,
    "study-signals": 39,
    "study-policies": 24,
    "study-samples": 15,
    "study-methods": 15,
}
ARMS |= {"sekd": 30, "sekd-signals": 36, "sekd-policies": 15, "sekd-gsm8k": 24, "sekd-gsm8k-on-policy": 21}
ARMS |= {name.replace("gpt2", "openllama2"): count for name, count in ARMS.items() if name.startswith("gpt2")}


def test_every_table_is_counted() -> None:
    assert tables().keys() == ARMS.keys()


def jobs(table: str) -> list[tuple[str, ...]]:
    """The overrides of every job of a table's multirun."""
    overrides = OverridesParser.create().parse_overrides(read_table(table).overrides())
    choices = [
        [f"{each.key_or_group}={value}" for value in each.sweep_string_iterator()]
        if each.is_sweep_override()
        else [each.input_line]
        for each in overrides
    ]
    return [tuple(str(word) for word in job) for job in product(*choices)]


@cache
def composed(job: tuple[str, ...]) -> Config:
    return config(*job)


@pytest.mark.parametrize("table", ARMS)
def test_every_arm_of_a_table_composes_and_has_what_it_is_compared_with(table: str) -> None:
    all_jobs = jobs(table)
    assert len(all_jobs) == ARMS[table]
    swept = {word.partition("=")[0] for word in all_jobs[0]} - {"experiment"}
    firsts = {key: next(word for word in all_jobs[0] if word.startswith(f"{key}=")) for key in swept}
    arms: list[Config] = [composed(job) for job in all_jobs if set(firsts.values()) <= set(job)]
    assert len(arms) == len({word for job in all_jobs for word in job if word.startswith("experiment=")})
    assert composed(all_jobs[-1]).study == arms[0].study
    names = {arm.arm_name for arm in arms}
    assert len(names) == len(arms), "every arm has a name of its own"
    assert len({arm.study for arm in arms}) == 1
    alone = {arm.arm_name for arm in arms if arm.versus and not set(arm.versus) & names}
    assert all(name.endswith(" + SRD") for name in alone), "only what ablations start from may miss its controls"


def test_published_rows_of_the_gpt2_table_are_all_used() -> None:
    named = {composed(job).published for table in ("gpt2", "gpt2-baselines") for job in jobs(table)}
    rows = {f"pocl_gpt2/{row}" for row in published()["pocl_gpt2"]["rows"]}
    assert rows - named == {"pocl_gpt2/teacher"}
    assert len(rows) == 17


def test_a_table_runs_its_arms_and_ends_with_its_report(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    """Further words are overrides of every arm; one of a key that the table sweeps takes the place of its values."""
    done = cli("table", "study", *smoke, "experiment=study/plain", "method=fkl,rkl", "distill.seed=10", cwd=tmp_path)
    assert re.findall(r"job (\d+): ", done.stderr) == ["0", "1"]
    assert (tmp_path / "outputs/report/study/report.md").is_file()
    for words, message in ((["table"], "expected one table, got 0"), (["table", "stody"], "did you mean 'study'")):
        line = cli(*words, cwd=tmp_path, code=2).stderr.strip()
        assert message in line
        assert ", ".join(sorted(ARMS)) in line
        assert "\n" not in line
