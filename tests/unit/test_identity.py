"""Every key of the config either changes what some artefact is known by, or never can: here is why."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from srd.commands.compose import to_config
from srd.commands.schema import keys
from srd.pipeline.scoring import harnesses, scores
from srd.store.artefacts import closure
from tests.composing import composed

SMOKE = ("debug=smoke", "dataset=pydoc")
PAIR = (
    "model=pair",
    "dataset=pydoc",
    *(f"model.{role}.{key}={value}" for role in ("teacher", "student") for key, value in
      (("name", f"org/{role}"), ("revision", "abc"), ("finetune.epochs", 1))),
)  # fmt: skip
TEXT = (*SMOKE, "dataset=text", "dataset.path=FILE")
HUB = (*SMOKE, "dataset=hub", "dataset.hub=org/data", "dataset.revision=abc")
LISTED = (*SMOKE, "schedule=pocl", "curriculum.phases=4")
WARM = (*SMOKE, "dataset.warmup_samples=4", *(f"model.{role}.finetune.epochs=1" for role in ("teacher", "student")))
SAMPLED = "reflect.generation.temperature=1"

NEVER = {
    "engine.device": "how it is computed",
    "engine.precision": "how it is computed, to float tolerance",
    "engine.micro_batch_tokens": "how a step is cut",
    "engine.loss_positions": "how the loss is cut",
    "engine.compile": "how the loss is computed",
    "engine.generation_sequences": "how many are answered together",
    "engine.gradient_checkpointing": "what is computed twice",
    "engine.save_steps": "how often state is saved",
    "engine.processes": "how many share the work",
    "engine.threads": "how many compute",
    "plan.gpu": "looks ahead",
    "plan.memory_gb": "looks ahead",
    "plan.samples": "looks ahead",
    "plan.test_samples": "looks ahead",
    "plan.prompt_tokens": "looks ahead",
    "plan.response_tokens": "looks ahead",
    "plan.answer_tokens": "looks ahead",
    "plan.utilisation": "looks ahead",
    "logger.name": "where scalars go besides",
    "logger.project": "where scalars go besides",
    "logger.mode": "where scalars go besides",
    "teacher.disk_gb": "turns `auto` into hidden or online, which is what counts",
    "dataset.path": "where the data lies; its content counts",
    "evaluate.path": "where the suites lie; their content counts",
    "evaluate.allow_code": "a permission",
    "evaluate.pass_at": "what a report makes of the scores",
    "evaluate.harness.program": "where the program lies; what it was is recorded",
    "model.teacher.trust_remote_code": "a permission",
    "model.student.trust_remote_code": "a permission for the student; the teacher's keeps it off the disk",
    "model.name": "a name for tables",
    "schedule.name": "a name for tables",
    "selection.name": "a name for tables",
    "method.name": "a name for tables",
    "study": "a name for tables",
    "arm": "a name for tables",
    "versus": "what a table compares",
    "published": "what a table prints beside",
    "role": "which artefact a command makes",
    "outputs": "where artefacts lie",
}
"""Keys that no fingerprint knows, and why no result depends on them."""


@dataclass(frozen=True)
class Change:
    """A key's other value, and the settings under which it is read."""

    value: str
    under: tuple[str, ...] = SMOKE


def recipe(prefix: str, under: tuple[str, ...] = SMOKE) -> dict[str, Change]:
    values = {
        "epochs": "2", "batch_sequences": "3", "learning_rate": "7e-3", "learning_rate_end": "3e-7",
        "warmup_share": "0.3", "weight_decay": "0.5", "clip_norm": "3.0", "seed": "77",
    }  # fmt: skip
    return {f"{prefix}.{key}": Change(value, under) for key, value in values.items()}


def decoding(prefix: str, under: tuple[str, ...] = SMOKE) -> dict[str, Change]:
    values = {"temperature": "0.7", "top_p": "0.8", "top_k": "9", "no_repeat_ngram_size": "5", "max_new_tokens": "7"}
    return {f"{prefix}.{key}": Change(value, under) for key, value in values.items()}


T5_PAIR = (*PAIR, "model.encoder_decoder=true")


def side(role: str) -> dict[str, Change]:
    prefix, adapted = f"model.{role}", (*SMOKE, f"model.{role}.lora.rank=2")
    packaged = (*PAIR, f"{prefix}.name=null", f"+{prefix}.gguf_file=one.gguf", f"+{prefix}.package=torch")
    return {
        f"{prefix}.name": Change("org/other", PAIR),
        f"{prefix}.revision": Change("def", PAIR),
        f"{prefix}.package": Change("pytest", packaged),
        f"{prefix}.gguf_file": Change("other.gguf", (*PAIR, f"+model.{role}.gguf_file=one.gguf")),
        f"{prefix}.architecture": Change("{model_type: gpt2}"),
        f"{prefix}.layers": Change("[0,1]", PAIR),
        f"{prefix}.decoder_layers": Change("[0]", (*T5_PAIR, f"{prefix}.layers=[0]")),
        f"{prefix}.adapter": Change("FOLDER", PAIR),
        f"{prefix}.dtype": Change("bfloat16"),
        f"{prefix}.lora.rank": Change("3", adapted),
        f"{prefix}.lora.alpha": Change("3", adapted),
        f"{prefix}.lora.dropout": Change("0.3", adapted),
        f"{prefix}.lora.target_modules": Change("[q_proj]", adapted),
        **recipe(f"{prefix}.finetune"),
    }  # fmt: skip


def ramp(prefix: str, values: str) -> dict[str, Change]:
    return {
        f"{prefix}.start": Change("0.9"),
        f"{prefix}.end": Change("0.7"),
        f"{prefix}.by": Change("step"),
        f"{prefix}.values": Change(values, LISTED),
    }


def chosen(policy: str, **values: str) -> dict[str, Change]:
    under = (*SMOKE, f"selection.positions.policy={policy}")
    return {f"selection.positions.{key}": Change(value, under) for key, value in values.items()}


def classes(signal: str, **values: str) -> dict[str, Change]:
    under = (*SMOKE, "schedule=constant", f"teacher.signal={signal}")
    return {f"selection.classes.{key}": Change(value, under) for key, value in values.items()}


GKD, DISTILLM, SEQKD = ((*SMOKE, f"method={name}") for name in ("gkd", "distillm", "seqkd"))
CODE = (*SMOKE, "evaluate.metrics=[rouge_l,code_passes]")
VERIFIED = (*SMOKE, SAMPLED, "reflect.answers=4", "rank.verifier=exact_match")
READ = (*SMOKE, "evaluate.metrics=[rouge_l,bert_score]", "evaluate.encoder.name=org/model")
READ = (*READ, "evaluate.encoder.revision=abc")
CORPUS = (*SMOKE, "method.corpus.path=FILE")
CHANGES: dict[str, Change] = {
    **side("teacher"),
    **side("student"),
    "model.student.lora.merge": Change("false", (*SMOKE, "model.student.lora.rank=2")),
    "model.vocabulary": Change("310"),
    "model.template": Change("alpaca"),
    "model.max_prompt_tokens": Change("40"),
    "model.max_tokens": Change("60"),
    "dataset.name": Change("jsonl", (*SMOKE, "dataset.path=DATA", "dataset.name=dolly")),
    "dataset.config_name": Change("other", HUB),
    "dataset.columns.system": Change("other", HUB),
    "dataset.columns.instruction_text": Change("other", HUB),
    "model.template_arguments": Change("{enable_thinking: false}", (*SMOKE, "model.template=chat")),
    "model.date": Change("2024-02-29", (*SMOKE, "model.template=chat")),
    "dataset.hub": Change("org/more", HUB),
    "dataset.revision": Change("def", HUB),
    **{f"dataset.columns.{name}": Change("other", HUB) for name in ("instruction", "input", "output")},
    **{f"dataset.columns.{name}": Change("other", HUB) for name in ("tests", "setup", "entry_point")},
    "generation.max_new_tokens": Change("7"),
    "dataset.limit": Change("7"),
    "dataset.dev_samples": Change("3"),
    "dataset.test_samples": Change("3"),
    "dataset.corrupt": Change("0.25"),
    "dataset.corrupt_seed": Change("3", (*SMOKE, "dataset.corrupt=0.25")),
    "dataset.corrupt_kind": Change("garbled", (*SMOKE, "dataset.corrupt=0.25")),
    "dataset.warmup_samples": Change("3"),
    **{f"model.{role}.finetune.split": Change("warmup", WARM) for role in ("teacher", "student")},
    "dataset.strict": Change("true"),
    "dataset.tokens": Change("70", TEXT),
    "dataset.columns.text": Change("body", TEXT),
    **decoding("reflect.generation", (*SMOKE, SAMPLED)),
    "reflect.seed": Change("3", (*SMOKE, SAMPLED)),
    "rank.signals": Change("[nll]"),
    "rank.rrf_k": Change("10"),
    "rank.seed": Change("3", (*SMOKE, "rank.signals=[random]")),
    "reflect.answers": Change("4", (*SMOKE, SAMPLED)),
    "rank.verifier": Change("code_passes", (*VERIFIED, "rank.signals=[pass_rate]")),
    "filter.weights": Change("paced", VERIFIED),
    "filter.weight_powers": Change("[1,2]", (*VERIFIED, "filter.weights=paced")),
    "model.encoder_decoder": Change("true", PAIR),
    "filter.keep": Change("0.5"),
    "filter.rule": Change("mixture", (*SMOKE, "filter.keep=auto")),
    "filter.passes": Change("9", (*SMOKE, "filter.keep=auto", "filter.rule=budget", "filter.passes=12")),
    "filter.by": Change("random"),
    "filter.end": Change("hardest"),
    "filter.seed": Change("3", (*SMOKE, "filter.by=random")),
    "curriculum.name": Change("one_pass"),
    "curriculum.phases": Change("2"),
    "curriculum.sizes": Change("[0.2,0.3,0.5]"),
    "curriculum.replay": Change("0.5", (*SMOKE, "curriculum=mixed")),
    "curriculum.order": Change("kept"),
    "curriculum.seed": Change("3", (*SMOKE, "curriculum=random_order")),
    **ramp("schedule.temperature", "[1,1,2,2]"),
    **ramp("schedule.sft_weight", "[1,1,0,0]"),
    "method.divergence": Change("reverse_kl"),
    "method.parameters": Change("{beta: 0.3}", (*SMOKE, "method=jsd")),
    "method.temperature_power": Change("0"),
    "method.responses": Change("teacher"),
    **decoding("method.answers", (*SEQKD, "method.answers.temperature=1")),
    "method.answers_seed": Change("3", (*SEQKD, "method.answers.temperature=1")),
    "method.student_data.share": Change("0.7", GKD),
    "method.student_data.adaptive": Change("true", GKD),
    "method.student_data.share_step": Change("0.3", DISTILLM),
    "method.student_data.loss_margin": Change("0.3", DISTILLM),
    "method.student_data.replay_capacity": Change("500", DISTILLM),
    "method.student_data.fresh": Change("increasing", DISTILLM),
    "method.student_data.every_steps": Change("1", GKD),
    **decoding("method.student_data.generation", GKD),
    "method.student_data.prompt_tokens": Change("9", (*TEXT, "method=gkd", "++method.student_data.prompt_tokens=8")),
    "method.corpus.path": Change("FILE"),
    "method.corpus.weight": Change("3", CORPUS),
    "method.corpus.batch_sequences": Change("3", CORPUS),
    "teacher.signal": Change("online"),
    "teacher.dtype": Change("bfloat16"),
    "selection.positions.policy": Change("top"),
    **chosen("top", signal="early", share="0.5", quota="step", cross_entropy="chosen", weight="student_entropy"),
    **chosen("threshold", history="100"),
    **chosen("window", slide="0.7"),
    **chosen("band", band="[0.1,0.2]"),
    **chosen("adaptive", loss_tolerance="0.3", cooling="0.5"),
    "selection.positions.easy_weight": Change("0.4", (*SMOKE, "method=atkd")),
    **chosen("sampled", unbiased="true", seed="3"),
    **classes("sampled", draws="32", slots="16", seed="3"),
    **classes("top", count="32"),
    "selection.classes.temperature": Change(
        "2.0",
        (
            *SMOKE,
            "schedule=constant",
            "schedule.temperature.start=${selection.classes.temperature}",
            "teacher.signal=top",
        ),
    ),
    **recipe("distill"),
    "distill.dev_samples": Change("3"),
    "distill.handover": Change("best"),
    "distill.course": Change("continue"),
    "distill.select_by": Change("exact_match"),
    "evaluate.suites": Change("{other: {name: pydoc, limit: 5}}"),
    **decoding("evaluate.generation"),
    "evaluate.seeds": Change("[1]"),
    "evaluate.targets": Change("[teacher]"),
    "evaluate.checkpoint": Change("last"),
    "evaluate.likelihood": Change("true"),
    "evaluate.metrics": Change("[rouge_l]"),
    "evaluate.encoder.name": Change("org/other", READ),
    "evaluate.encoder.revision": Change("def", READ),
    "evaluate.encoder.layer": Change("3", READ),
    "evaluate.code.isolation": Change("none", CODE),
    **{f"evaluate.code.{name}_mb": Change("70", CODE) for name in ("memory", "disk")},
    **{f"evaluate.code.{name}": Change("7", CODE) for name in ("seconds", "cpu_seconds", "processes", "output_kb")},
    "evaluate.harness.tasks": Change("[piqa]"),
    "evaluate.harness.include_path": Change("FOLDER"),
    "evaluate.harness.shots": Change("3"),
    "evaluate.harness.limit": Change("3"),
    "engine.generation_backend": Change("vllm", SMOKE),
}
"""Every other key, with a value that changes a result."""


def leaves() -> set[str]:
    every = keys()
    return {key for key in every if not any(other.startswith(f"{key}.") for other in every)}


@cache
def _composed(*overrides: str) -> DictConfig:
    return composed(*overrides)


@cache
def artefacts(*overrides: str) -> frozenset[str]:
    """All artefacts of a run, by their fingerprints; `++KEY=VALUE` at the end is set in what the others compose."""
    base, added = (overrides[:-1], overrides[-1][2:]) if overrides[-1].startswith("++") else (overrides, "")
    whole = deepcopy(_composed(*base))
    if added:
        key, _, value = added.partition("=")
        OmegaConf.update(whole, key, OmegaConf.create(f"value: {value}").value, force_add=True)
    cfg = to_config(whole)
    return frozenset(str(node) for node in closure([*scores(cfg), *harnesses(cfg)]))


@pytest.fixture
def filled(tmp_path: Path, data_file: Path) -> dict[str, str]:
    """What stands for the words FILE, FOLDER and DATA."""
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "text.jsonl").write_text('{"text": "some words"}\n')
    (tmp_path / "train.jsonl").write_bytes(data_file.read_bytes())
    return {"FILE": str(tmp_path / "text.jsonl"), "FOLDER": str(tmp_path), "DATA": str(tmp_path)}


def with_files(overrides: tuple[str, ...], filled: dict[str, str]) -> list[str]:
    return [f"{key}={filled.get(value, value)}" for key, _, value in (word.partition("=") for word in overrides)]


def test_every_key_changes_an_artefact_or_says_why_it_never_does() -> None:
    assert not NEVER.keys() & CHANGES.keys()
    assert not NEVER.keys() - leaves(), "keys that are gone"
    assert not CHANGES.keys() - leaves(), "keys that are gone"
    # Fine-tuning leaves whole weights; only the distilled student is merged by choice.
    assert leaves() - NEVER.keys() - CHANGES.keys() == {"model.teacher.lora.merge"}
    assert len(CHANGES) > 100


@pytest.mark.slow  # three hundred compositions
@pytest.mark.parametrize("key", CHANGES)
def test_a_key_changes_an_artefact_where_it_is_read(key: str, filled: dict[str, str]) -> None:
    change = CHANGES[key]
    before = with_files(change.under, filled)
    after = [*before, *with_files((f"++{key}={change.value}",), filled)]
    assert artefacts(*after) != artefacts(*before)


@pytest.mark.parametrize("key", NEVER)
def test_a_key_that_never_changes_a_result_changes_no_artefact(key: str, tmp_path: Path, data_file: Path) -> None:
    values = {
        "engine.device": "cpu", "engine.precision": "bfloat16", "engine.compile": "true",
        "engine.gradient_checkpointing": "true", "plan.gpu": "l4", "plan.utilisation": "0.1", "logger.name": "wandb",
        "logger.mode": "online", "model.student.trust_remote_code": "true", "versus": "[x]",
        "published": "pocl_gpt2/fkl", "role": "student", "evaluate.path": "elsewhere", "evaluate.pass_at": "[1]",
    }  # fmt: skip
    under = [*SMOKE, "teacher.signal=online"] if "trust_remote_code" in key else list(SMOKE)
    value: object = values.get(key, "true" if "trust_remote_code" in key else "7")
    if key == "dataset.path":
        under, value = [*SMOKE, f"dataset.path={data_file}"], tmp_path / "elsewhere.json"
        value.write_bytes(data_file.read_bytes())
    assert artefacts(*under, f"++{key}={value}") == artefacts(*under)
