"""Every config composes, and every mistake in one is named."""

import re
from dataclasses import fields
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from srd.commands.compose import run_hydra, to_config
from srd.commands.explain import explain
from srd.commands.report import read_table, tables
from srd.commands.schema import conf_folder, groups, keys
from srd.config import Config, Model
from srd.errors import UserError
from tests.composing import composed, config

FILES = sorted(conf_folder().rglob("*.yaml"))
APART = ("table", "protocol", "recipe")
"""Tables are read by `srd table`; protocols and recipes are what experiments and models bring along."""


def name_of(path: Path) -> str:
    return "/".join(path.relative_to(conf_folder()).with_suffix("").parts[1:])


OPTIONS = [
    (group, path)
    for group, path in ((path.relative_to(conf_folder()).parts[0], path) for path in FILES)
    if path.parent != conf_folder() and group not in APART
]
ARMS = {name for table in tables() for arm in read_table(table).arms for name in arm.strip("[]").split(",")}
"""Experiments that the tests of the tables compose."""
ALONE = [(group, path) for group, path in OPTIONS if group != "experiment" or name_of(path) not in ARMS]
PAIR = ["model.teacher.name=somewhere/teacher", "model.student.name=somewhere/student"]


@pytest.mark.slow  # over a hundred compositions
@pytest.mark.parametrize(("group", "path"), ALONE, ids=[f"{group}-{name_of(path)}" for group, path in ALONE])
def test_every_option_composes_into_checked_dataclasses(group: str, path: Path) -> None:
    name = name_of(path)
    more = {"pair": PAIR, "pocl": ["curriculum.phases=4"], "translation": ["distill.select_by=chrf"]}.get(name, [])
    name = f"[study/srd,{name}]" if name.startswith("ablation/") else name
    small = name.partition("/small")[0] if name in ("gsm8k/small", "iwslt2017/small", "xsum/small") else None
    name = f"[{small}/srd,{name}]" if small else name
    assert isinstance(config(f"{group}={name}", *more), Config)


def test_the_promised_options_exist() -> None:
    found = {(group, name_of(path)) for group, path in OPTIONS}
    promised = {
        "model": "tiny smollm2 gpt2_1.5b_to_0.1b openllama2_7b_to_3b qwen2.5_1.5b_to_0.5b pair",
        "dataset": "pydoc dolly jsonl hub text fineweb_edu mbpp humaneval xsum scitldr iwslt2017_en_de "
        "iwslt2017_de_en tatoeba_en_de gsm8k",
        "evaluate": "heldout dolly self_inst vicuna sinst uinst minillm mbpp humaneval code summaries translation "
        "gsm8k",
        "method": "sft seqkd fkl rkl symkl jsd tvd skl srkl gkd imitkd distillm distillm_srkl on_policy_rkl",
        "curriculum": "none baby_step one_pass reversed random_order mixed",
        "schedule": "srd srd_official_gpt2 srd_official_openllama2 pocl srd_by_step constant constant_half",
        "logger": "none wandb tensorboard",
        "debug": "smoke overfit",
        "experiment": "demo/plain demo/srd smollm2_dolly gpt2/plain gpt2/plain_12_epochs gpt2/pocl gpt2/srd "
        "openllama2/plain openllama2/plain_6_epochs openllama2/pocl openllama2/srd study/plain study/plain_3_epochs "
        "study/random_filter study/srd mbpp/plain mbpp/same_passes mbpp/random_filter mbpp/srd mbpp/small "
        "gsm8k/plain gsm8k/same_passes gsm8k/random_filter gsm8k/srd gsm8k/small "
        "xsum/plain xsum/same_passes xsum/random_filter xsum/srd xsum/small iwslt2017/plain iwslt2017/same_passes "
        "iwslt2017/random_filter iwslt2017/srd iwslt2017/small",
    }
    wanted = set(chain.from_iterable([(group, name) for name in names.split()] for group, names in promised.items()))
    assert wanted <= found
    assert len(wanted) == 100


def test_every_file_says_what_it_is() -> None:
    headers = {path: path.read_text(encoding="utf-8").removeprefix("# @package _global_\n") for path in FILES}
    headers = {path: text.removeprefix("# @package hydra\n") for path, text in headers.items()}
    assert not [str(path) for path, text in headers.items() if not text.startswith("# ")]
    assert len(headers) > 90


def test_a_model_brings_nothing_but_a_model() -> None:
    models = sorted((conf_folder() / "model").glob("*.yaml"))
    assert not [path.name for path in models if "@package" in path.read_text(encoding="utf-8")]
    written = {key for path in models for key in OmegaConf.load(path)}
    assert written <= {field.name for field in fields(Model)}, "no defaults list that chooses for other groups either"
    assert len(models) == 14


def test_the_table_of_contents_lists_every_section() -> None:
    contents = (conf_folder() / "config.yaml").read_text(encoding="utf-8").split("reflect:\n")[0]
    sections = [field.name for field in fields(Config)]
    assert not [name for name in sections if not re.search(rf"\b{name}\b", contents)]
    assert len(sections) > 20


def settings(written: Any, key: str = "") -> set[str]:
    """What a file sets: `key=value` of every leaf, and each of its defaults."""
    if key == "defaults":
        return {f"{key}: {entry}" for entry in written}
    if isinstance(written, dict):
        return set().union(*(settings(inner, f"{key}.{name}".strip(".")) for name, inner in written.items()))
    return {f"{key}={written}"}


def test_no_two_experiments_repeat_each_other() -> None:
    """Three settings that stand in two files belong into one that both start from."""
    paths = sorted((conf_folder() / "experiment").rglob("*.yaml"))
    experiments = {name_of(path): settings(OmegaConf.to_container(OmegaConf.load(path))) for path in paths}
    pairs = [(one, other, experiments[one] & experiments[other]) for one, other in combinations(experiments, 2)]
    assert not [pair for pair in pairs if len(pair[2]) >= 3]
    assert len(experiments) > 25


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("filter.kep=1", "unknown key 'filter.kep'; did you mean 'filter.keep'"),
        ("method=flk", "unknown option 'method=flk'; did you mean 'fkl'"),
        ("experiment=study/sdr", "unknown option 'experiment=study/sdr'; did you mean 'study/srd'"),
        ("experiment=[study/srd,ablation/keep_5]", "did you mean 'ablation/keep_50'"),
        ("debug=smok", "unknown option 'debug=smok'; did you mean 'smoke'"),
        ("modle=tiny", "unknown key 'modle'; did you mean 'model'"),
        ("+fliter.keep=1", "unknown key 'fliter'; did you mean 'filter'"),
        ("filter.keep=2", r"filter.keep=2: expected a share in \(0, 1\], or auto"),
        ("filter.keep=some", r"filter.keep=some: expected a share in \(0, 1\], or auto"),
        ("distill.learning_rate=0", "^distill.learning_rate=0.0: expected more than 0"),
        ("evaluate.seeds=[1,1]", "evaluate.seeds"),
        ("evaluate.targets=[techer]", "did you mean 'teacher'"),
        ("rank.signals=[rogue_l]", "did you mean 'rouge_l'"),
        ("curriculum.name=babystep", "did you mean 'baby_step'"),
        ("dataset.name=doly", "did you mean 'dolly'"),
        ("model.template=alpacca", "did you mean 'alpaca'"),
        ("method.divergence=forwardkl", "did you mean 'forward_kl'"),
        ("method.temperature_power=1", "expected official, 0 or 2"),
        ("schedule.temperature.end=-1", "schedule.temperature.end=-1.0: expected a temperature in"),
        ("schedule.sft_weight.by=epoch", "schedule.sft_weight.by=epoch: expected phase, step or constant"),
        ("schedule.sft_weight.values=[0.1]", r"expected one value for each of 3 phases"),
        ("schedule.sft_weight={values:[0.1],by:step}", "schedule.sft_weight.by=step: expected phase or constant with"),
        ("schedule.temperature.end=null", "schedule.temperature.end=null: expected a number, or schedule.temperature"),
        ("curriculum.sizes=[0.5,0.5]", r"expected curriculum.phases=3 shares above 0 that add up to 1"),
        ("curriculum.order=sorted", "expected shuffled or kept"),
        ("filter.by=nil", "did you mean 'nll'"),
        ("dataset.corrupt=1", r"dataset.corrupt=1.0: expected a share in \[0, 1\)"),
        ("dataset.corrupt_kind=garbeld", "unknown dataset.corrupt_kind 'garbeld'; did you mean 'garbled'"),
        ("model.student.finetune.split=dev", "model.student.finetune.split=dev: expected train or warmup"),
        ("dataset.warmup_samples=null model.student.finetune.split=warmup", "set dataset.warmup_samples to how many"),
        ("teacher.signal=disk", "expected auto, hidden, online, sampled or top"),
        ("teacher.dtype=int8", "expected float32, bfloat16, float16, float8 or null"),
        ("distill.handover=first", "expected last or best"),
        ("distill.course=go", "expected restart or continue"),
        ("method.responses=pupil", "expected references or teacher"),
        ("method.student_data.share=2", r"expected a probability in \[0, 1\]"),
        ("method.student_data.fresh=never", "expected constant, decreasing, increasing"),
        ("method.student_data.replay_capacity=3", "expected 0 or at least distill.batch_sequences=16"),
        ("table=gpt2", "override 'table': experiments bring protocols, and a table runs as `srd table NAME`"),
        ("published=pocl/fkl", "did you mean 'pocl_gpt2'"),
        ("role=pupil", "unknown role 'pupil'"),
        ("engine.precision=int8", "expected float32 or bfloat16"),
        ("model.student.name=x", "a side has name and architecture; expected exactly one"),
        ("model.student.layers=[0]", "expected nothing beside architecture"),
        ("model.student.lora.dropout=3", r"lora.dropout=3.0: expected a probability in \[0, 1\)"),
        ("evaluate.seeds=[-1]", r"evaluate.seeds=-1: expected a seed from 0 to \d+ \(64 bits\)"),
        ("evaluate.targets=[]", "expected one or more of teacher, student, distill"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_right_word(override: str, message: str) -> None:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        to_config(composed(*override.split(" ")))
    except UserError as error:
        line = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        line = explain(error)
    else:
        pytest.fail(f"{override} was accepted")
    assert re.search(message, line), line
    assert "\n" not in line


def test_a_recipe_is_its_models_own_or_one_that_is_there() -> None:
    seen: list[Config] = []
    for choice in ("recipe=tyni", "recipe=smollm2"):
        with pytest.raises(UserError, match=r"unknown recipe '.*choices: tiny"):
            run_hydra("run", [choice], seen.append)
    run_hydra("run", ["model=smollm2"], seen.append)
    run_hydra("run", ["model=smollm2", "recipe=tiny"], seen.append)
    assert [cfg.evaluate.generation.max_new_tokens for cfg in seen] == [256, 32]


def test_every_field_is_documented() -> None:
    import ast

    import srd.config as module

    documented = 0
    sources = [path.read_text(encoding="utf-8") for path in Path(module.__path__[0]).glob("*.py")]
    for node in chain.from_iterable(ast.parse(source).body for source in sources):
        if isinstance(node, ast.ClassDef) and node.name != "UserError":
            body = node.body
            for statement, after in zip(body, [*body[1:], None], strict=True):
                if isinstance(statement, ast.AnnAssign) and node.name != "Config":
                    documented += 1
                    assert isinstance(after, ast.Expr), f"{node.name}.{ast.unparse(statement.target)} has no doc line"
    assert documented > 70
    assert len(keys()) > 90
    assert len(groups()) >= 10
