"""A plan is made of the config alone, counts as the ledgers do, and names a change that would fit where a run does
not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForCausalLM

from srd.commands.plan import finished
from srd.config import Config
from srd.errors import UserError
from srd.models.facts import facts_of
from srd.models.load import num_parameters
from srd.pipeline import graph, scoring
from srd.plan.estimate import changes, refuse
from srd.plan.lengths import Lengths
from srd.plan.machines import GPUS
from srd.plan.needs import RunEstimate
from srd.store.artefacts import build
from tests.composing import config

ARCHITECTURES: list[dict[str, Any]] = [
    {
        "model_type": "llama",
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
    }
    | {"num_key_value_heads": 2},
    {"model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 4, "resid_pdrop": 0, "attn_pdrop": 0, "embd_pdrop": 0},
    {
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    | {"num_key_value_heads": 2},
    {
        "model_type": "gpt_neox",
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
]


def with_student(architecture: dict[str, Any], *more: str) -> Config:
    cfg = config(*more)
    return replace(
        cfg, model=replace(cfg.model, vocabulary=600, student=replace(cfg.model.student, architecture=architecture))
    )


def built(architecture: dict[str, Any]) -> Any:
    settings = {**architecture, "vocab_size": 600}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a["model_type"])
def test_facts_of_a_config_are_those_of_the_model(architecture: dict[str, Any]) -> None:
    """Parameters and head exactly; what a real forward pass over 200 tokens keeps, within a tenth."""
    facts, net = facts_of(with_student(architecture), "student"), built(architecture)
    assert facts.parameters == facts.trainable == num_parameters(net)
    assert facts.head_parameters == net.get_output_embeddings().weight.numel()
    kept: dict[int, torch.Tensor] = {}
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    with saved_tensors_hooks(lambda t: kept.setdefault(t.untyped_storage().data_ptr(), t) is None or t, lambda t: t):
        net.base_model(input_ids=torch.zeros(2, 100, dtype=torch.long), use_cache=False)
    measured = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights) / 200
    assert facts.activation_bytes == pytest.approx(measured, rel=0.1)
    states = net(input_ids=torch.zeros(1, 10, dtype=torch.long), use_cache=True).past_key_values
    assert facts.state_bytes == sum(layer.keys.nbytes + layer.values.nbytes for layer in states.layers) / 10
    assert len(ARCHITECTURES) == 4


def test_an_adapter_trains_what_peft_says() -> None:
    peft = pytest.importorskip("peft")
    for architecture in ARCHITECTURES[:2]:
        facts = facts_of(with_student(architecture, "model.student.lora.rank=4"), "student")
        net = peft.get_peft_model(
            built(architecture),
            peft.LoraConfig(
                r=4,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
                fan_in_fan_out=architecture["model_type"] == "gpt2",
            ),
        )
        assert facts.trainable == sum(p.numel() for p in net.parameters() if p.requires_grad)


def estimated(*overrides: str) -> RunEstimate:
    cfg = config("teacher.signal=hidden", *overrides)
    counts = {"samples": 11_000, "test_samples": {"heldout": 500}, "warmup": 1300}
    lengths = Lengths(**counts, prompt=92, response=89, answer=89, longest=512)
    return RunEstimate(cfg, facts_of(cfg, "teacher"), facts_of(cfg, "student"), lengths, GPUS["a100-80gb"])


def need(of: RunEstimate, stage: str) -> Any:
    return {need.stage: need for need in of.needs()}[stage]


def test_several_answers_to_a_prompt_read_it_once() -> None:
    sampled = ["reflect.generation.temperature=1", "rank.signals=[pass_rate,nll]", "rank.verifier=exact_match"]
    one, four, eight = (estimated(*sampled, f"reflect.answers={count}") for count in (1, 4, 8))
    flops = [need(each, "reflect").flops for each in (one, four, eight)]
    n, answers = one.lengths, min(one.lengths.answer, one.cfg.reflect.generation.max_new_tokens)
    assert flops[0] == pytest.approx(2 * one.student.parameters * n.samples * (n.prompt + n.total + answers))
    assert flops[1] - flops[0] == pytest.approx(2 * one.student.parameters * 3 * n.samples * answers)
    assert flops[2] - flops[1] == pytest.approx(2 * one.student.parameters * 4 * n.samples * answers)


def test_a_warm_start_s_passes_are_those_of_its_split() -> None:
    read = [f"model.student.finetune.{setting}" for setting in ("split=warmup", "epochs=4")]
    warm, train = estimated(*read), estimated("model.student.finetune.split=train", "model.student.finetune.epochs=4")
    ratio = need(warm, "finetune student").flops / need(train, "finetune student").flops
    assert ratio == pytest.approx(1300 / 11_000)


def test_every_long_stage_is_reckoned() -> None:
    stages = [need.stage for need in estimated().needs()]
    assert stages == [
        "finetune teacher", "finetune student", "reflect", "cache", "distill",
        "evaluate teacher", "evaluate student", "evaluate distill",
    ]  # fmt: skip
    assert all(need.flops > 0 and need.seconds > 0 and need.memory_bytes > 0 for need in estimated().needs())
    plain = [need.stage for need in estimated("curriculum=none", "filter.keep=1", "teacher.signal=online").needs()]
    assert "reflect" not in plain
    assert "cache" not in plain


def test_a_scoring_pass_is_reckoned_as_its_ledger_counts_it() -> None:
    """A forward pass of each reader over every sample: no answer, and a teacher only where a signal is its own."""
    plain = ["curriculum=none", "filter.keep=0.2"]
    alone = estimated(*plain, "filter.by=student_entropy", "filter.end=hardest")
    both = estimated(*plain, "filter.by=forward_kl")
    for run, stage, readers in (
        (alone, "score student", [alone.student]),
        (both, "score teacher", [both.student, both.teacher]),
    ):
        stages = [need.stage for need in run.needs()]
        assert [each for each in stages if each.startswith(("score", "reflect"))] == [stage]
        flops = sum(2 * facts.parameters * 11_000 * (92 + 89) for facts in readers)
        assert need(run, stage).flops == pytest.approx(flops)
        weights = sum(facts.parameters * facts.weight_bytes for facts in readers)
        assert need(run, stage).memory["weights"] == weights
    every = [need.stage for need in estimated("filter.by=nll_ratio", "rank.signals=[rouge_l,student_entropy]").needs()]
    assert [each for each in every if each.startswith(("score", "reflect"))] == [
        "reflect",
        "score student",
        "score teacher",
    ]
    half = need(estimated(*plain, "filter.by=forward_kl", "engine.precision=bfloat16"), "score teacher").memory
    assert half["bfloat16 weights"] == 2 * (both.student.parameters + both.teacher.parameters)


def test_gpus_share_the_time_and_processes_on_a_processor_its_memory() -> None:
    alone, shared = estimated(), estimated("engine.processes=4")
    for one, four in zip(alone.needs(), shared.needs(), strict=True):
        assert four.seconds == pytest.approx(one.seconds / 4)
        assert four.memory_bytes == one.memory_bytes
    here = replace(alone.machine, is_gpu=False)
    assert replace(shared, machine=here).needs() == replace(alone, machine=here).needs()


def test_srd_s_passes_are_those_of_its_phases() -> None:
    assert estimated("filter.keep=0.75", "distill.epochs=8").passes == pytest.approx(12 * 11_000, rel=1e-3)
    assert estimated("curriculum=none", "filter.keep=1", "distill.epochs=20").passes == 20 * 11_000


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (["engine.micro_batch_tokens=1024"], ["engine.micro_batch_tokens=2048"]),
        (["engine.loss_positions=128"], []),
        (["engine.gradient_checkpointing=true"], []),
        ([], ["teacher.signal=online"]),
        (["engine.precision=bfloat16", "engine.micro_batch_tokens=100000"], ["engine.micro_batch_tokens=100000"]),
    ],
)
def test_memory_follows_the_engine(less: list[str], more: list[str]) -> None:
    big = [
        "model.student.architecture.hidden_size=1024",
        "model.student.architecture.intermediate_size=4096",
        "engine.generation_sequences=1",
    ]
    assert need(estimated(*big, *less), "distill").memory_bytes < need(estimated(*big, *more), "distill").memory_bytes


def test_a_run_that_cannot_fit_is_refused_with_a_change_that_fits() -> None:
    big = ["model.student.architecture.hidden_size=1024", "model.student.architecture.intermediate_size=4096"]
    wide = estimated(*big, "engine.micro_batch_tokens=65536", "distill.batch_sequences=512")
    most = max(need.memory_bytes for need in wide.needs())
    refuse(wide, most, 1e12)
    advised = 0
    for share in (0.9, 0.5, 0.3, 0.12):
        with pytest.raises(UserError, match=r"needs .* GB of memory and a100-80gb has") as caught:
            refuse(wide, share * most, 1e12)
        words = str(caught.value).partition("; ")[2].partition(" would fit")[0]
        change = dict(changes(wide.cfg)).get(words)
        if change is not None:
            advised += 1
            assert (
                max(need.memory_bytes for need in replace(wide, cfg=change).needs()) <= share * most or "lora" in words
            )
    assert advised >= 3
    with pytest.raises(UserError, match="no change of the engine would fit; choose smaller models"):
        refuse(wide, 1e6, 1e12)
    with pytest.raises(UserError, match=r"needs .* GB of disk .*teacher.dtype=bfloat16"):
        refuse(wide, most, 1e6)


def test_a_plan_needs_no_weights_and_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from srd.cli import main

    for role, layers in (("teacher", 4), ("student", 2)):
        (tmp_path / role).mkdir()
        settings = {
            "model_type": "gpt2",
            "n_embd": 64,
            "n_layer": layers,
            "n_head": 4,
            "architectures": ["GPT2LMHeadModel"],
        }
        (tmp_path / role / "config.json").write_text(json.dumps(settings))
    words = [
        "plan",
        "model=pair",
        f"model.teacher.name={tmp_path / 'teacher'}",
        f"model.student.name={tmp_path / 'student'}",
    ]
    words += [
        "dataset=jsonl",
        "plan.samples=1000",
        "plan.prompt_tokens=92",
        "plan.response_tokens=89",
        "plan.test_samples=100",
    ]
    assert main([*words, f"outputs={tmp_path / 'o'}", "plan.gpu=a100-40gb", "engine=cpu"]) == 0
    printed = capsys.readouterr().out
    assert "1,000 samples of 92 + 89 tokens" in printed
    assert "most memory, " in printed
    assert main([*words, f"outputs={tmp_path / 'o'}", "plan.gpu=a100", "engine=cpu"]) == 2
    assert "did you mean 'a100-" in capsys.readouterr().err
    assert main([*words, f"outputs={tmp_path / 'o'}", "plan.gpu=l4", "plan.memory_gb=0.01", "engine=cpu"]) == 2
    assert "GB of memory and l4 has 0.0" in capsys.readouterr().err


def test_what_is_there_already_is_neither_counted_nor_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config("teacher.signal=hidden", f"outputs={tmp_path}")
    assert finished(cfg) == frozenset()
    for node in (graph.finetune(cfg, "teacher"), graph.cache(cfg), scoring.evaluate(cfg, "teacher", "heldout")):
        with monkeypatch.context() as alone:  # made without its inputs
            alone.setattr("srd.store.artefacts.require", lambda child, outputs: child.folder(outputs))
            build(node, tmp_path, lambda work: None)
    there = frozenset({"finetune teacher", "cache", "evaluate teacher"})
    assert finished(cfg) == there
    assert finished(config("teacher.signal=hidden", f"outputs={tmp_path}", "plan.gpu=l4")) == frozenset(), (
        "another machine has none of them"
    )
    whole, rest = estimated(), replace(estimated(), finished=there)
    assert [need.stage for need in rest.to_do()] == [
        "finetune student",
        "reflect",
        "distill",
        "evaluate student",
        "evaluate distill",
    ]
    assert len(whole.to_do()) == len(rest.needs()) == 8
    disk = sum(need.disk_bytes for need in rest.to_do())
    refuse(rest, 1e12, disk)
    with pytest.raises(UserError, match="GB of disk"):
        refuse(whole, 1e12, disk)
    refuse(replace(rest, finished=frozenset(need.stage for need in rest.needs())), 0, 0)
