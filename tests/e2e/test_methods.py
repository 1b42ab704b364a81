"""Every method, curriculum and schedule end to end on the smallest run; what they leave behind is what they say."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from srd.commands.schema import conf_folder
from tests.conftest import Cli
from tests.reading import manifest, read_json, read_jsonl

pytestmark = pytest.mark.slow

METHODS = sorted(path.stem for path in (conf_folder() / "method").glob("*.yaml"))
CURRICULA = sorted(path.stem for path in (conf_folder() / "curriculum").glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("methods")


@pytest.fixture(scope="module")
def arms(cli: Cli, smoke: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """The filed run of every method, by its name."""
    cli(
        "run",
        "-m",
        *smoke,
        f"method={','.join(METHODS)}",
        "distill.epochs=2",
        "evaluate.targets=[distill]",
        "arm=${method.name}",
        cwd=folder,
    )
    entries = [read_json(path) for path in (folder / "outputs/report/smoke/runs").glob("*.json")]
    return {entry["method"]: entry for entry in entries}


def test_every_method_runs_and_no_two_are_the_same(arms: dict[str, dict[str, Any]], folder: Path) -> None:
    assert sorted(arms) == METHODS
    assert len(METHODS) == 18
    assert len({entry["distill"] for entry in arms.values()}) == len(METHODS)
    losses = {}
    for name, entry in arms.items():
        metrics = read_jsonl(folder / "outputs" / entry["distill"] / "metrics.jsonl")
        assert len(metrics) == 2 * (1 + 1 + 2), "two epochs of 2, 4 and 6 samples in batches of 4"
        losses[name] = tuple(row["train/loss_nats"] for row in metrics)
    # Until the dev loss grows, DistiLLM trains on the references with its divergence; its teacher is live, the other's
    # is on disk.
    for name, same in (("distillm", "skl"), ("distillm_srkl", "srkl")):
        assert losses.pop(name) == pytest.approx(losses[same], rel=1e-5)
    assert len(set(losses.values())) == len(METHODS) - 2


def test_the_student_writes_as_often_as_the_method_says(arms: dict[str, dict[str, Any]], folder: Path) -> None:
    steps = {name: read_jsonl(folder / "outputs" / entry["distill"] / "metrics.jsonl") for name, entry in arms.items()}
    shares = {name: [row.get("train/student_share", 0.0) for row in rows] for name, rows in steps.items()}
    assert set(shares["on_policy_rkl"]) == {1.0}
    assert set(shares["gkd"]) == set(shares["imitkd"]) == {0.0, 1.0}
    assert shares["gkd"] == shares["imitkd"], "who writes is drawn from seed and step alone"
    assert {name for name, values in shares.items() if any(values)} == {"gkd", "imitkd", "on_policy_rkl"}
    ledgers = {name: manifest(folder / "outputs" / arms[name]["distill"])["ledger"] for name in METHODS}
    assert {name for name in METHODS if ledgers[name]["generated_tokens"]} == {"gkd", "imitkd", "on_policy_rkl"}


def test_sequence_level_distillation_trains_on_the_teacher_s_answers(
    arms: dict[str, dict[str, Any]], folder: Path
) -> None:
    seqkd = manifest(folder / "outputs" / arms["seqkd"]["distill"])
    answers = read_jsonl(folder / "outputs" / seqkd["inputs"]["answers"] / "answers.jsonl")
    assert len(answers) == 8
    sft = manifest(folder / "outputs" / arms["sft"]["distill"])
    assert "answers" not in sft["inputs"]
    assert seqkd["ledger"]["supervised_tokens"] != sft["ledger"]["supervised_tokens"]
    by_id = {row["id"]: len(row["token_ids"]) for row in answers}
    phases = read_jsonl(folder / "outputs" / seqkd["inputs"]["phases"] / "phases.jsonl")
    assert seqkd["ledger"]["supervised_tokens"] == 2 * sum(by_id[id] for phase in phases for id in phase["ids"])


def test_every_curriculum_trains_on_its_phases(
    cli: Cli, smoke: list[str], arms: dict[str, dict[str, Any]], folder: Path
) -> None:
    more = [
        "method=sft",
        "study=curricula",
        "evaluate.targets=[distill]",
        "arm=${curriculum.name}",
        "curriculum.order=kept",
    ]
    cli("run", "-m", *smoke, f"curriculum={','.join(CURRICULA)}", *more, cwd=folder)
    entries = [read_json(path) for path in (folder / "outputs/report/curricula/runs").glob("*.json")]
    assert sorted(entry["arm"] for entry in entries) == CURRICULA
    passes = {}
    for entry in entries:
        made = manifest(folder / "outputs" / entry["distill"])
        phases = read_jsonl(folder / "outputs" / made["inputs"]["phases"] / "phases.jsonl")
        assert made["ledger"]["sample_passes"] == sum(len(phase["ids"]) for phase in phases)
        passes[entry["arm"]] = made["ledger"]["sample_passes"]
    assert passes == {"none": 6, "baby_step": 12, "one_pass": 6, "reversed": 12, "random_order": 12, "mixed": 7}


def test_an_adapter_is_merged_into_the_best_weights(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    lora = ["model.student.lora.rank=2", "evaluate.targets=[distill]"]
    cli("run", *smoke, *lora, cwd=tmp_path)
    cli("distill", *smoke, *lora, "model.student.lora.merge=false", cwd=tmp_path)
    whole, adapter = sorted(
        (tmp_path / "outputs/distill").glob("*/best"), key=lambda path: (path / "adapter_config.json").is_file()
    )
    assert (adapter / "adapter_config.json").is_file()
    assert not (whole / "adapter_config.json").is_file()
    assert sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(whole).parameters()) > 1000
    assert (whole.parent / "phase-2/adapter_config.json").is_file()
    assert not list(whole.parent.glob("best-merged"))
    assert not list((tmp_path / "outputs").rglob("*.bin")), "safetensors only"


def test_a_study_that_knows_its_noise_reports_how_well_it_was_found(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    noisy = [*smoke, "dataset.limit=20", "dataset.corrupt=0.25", "evaluate.targets=[distill]", "study=noise"]
    cli("run", "-m", *noisy, "filter.by=rank,random", "arm=${filter.by}", cwd=tmp_path)
    cli("run", *noisy, "curriculum=none", "filter.keep=1", "arm=plain", cwd=tmp_path)
    cli("report", "noise", cwd=tmp_path)
    report = (tmp_path / "outputs/report/noise/report.md").read_text()
    table = report.split("## Corrupted rows")[1].split("##")[0]
    assert "| plain | no ranking | 5 of 20 |" in table
    assert "rouge_l 0." in table
    assert "fused 0." in table
    corrupted = read_jsonl(next((tmp_path / "outputs/samples").glob("*/corrupted.jsonl")))
    samples = {row["id"]: row for row in read_jsonl(next((tmp_path / "outputs/samples").glob("*/samples.jsonl")))}
    assert len(corrupted) == 5
    assert all(row["id"] in samples and row["was"] not in samples for row in corrupted)


def test_arms_without_reflection_are_reported_and_shown(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    cli("run", *smoke, "rank.signals=[length]", "evaluate.targets=[distill]", "study=length", cwd=tmp_path)
    cli("run", *smoke, "evaluate.targets=[teacher]", "study=length", cwd=tmp_path)
    assert "report.html" in cli("report", "length", cwd=tmp_path).stdout
    shown = cli("show", "rank/", cwd=tmp_path).stdout
    assert "hardest" in shown
    assert "ROUGE-L" not in shown
    assert not list((tmp_path / "outputs").glob("reflect/*"))


def test_a_filter_by_chance_is_made_stage_by_stage(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    for words in ("finetune role=student", "reflect", "rank", "filter", "partition"):
        cli(*words.split(), *smoke, "filter.by=random", cwd=tmp_path)
    assert len(list((tmp_path / "outputs/rank").glob("*/ranking.jsonl"))) == 2


def test_one_phase_is_the_same_data_under_every_curriculum(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    one = [*smoke, "curriculum.phases=1", "curriculum.order=kept", "evaluate.targets=[distill]"]
    cli("run", *one, "curriculum=reversed", "curriculum.phases=1", cwd=tmp_path)
    ranking = [row["id"] for row in read_jsonl(next((tmp_path / "outputs/rank").glob("*/ranking.jsonl")))]
    phases = read_jsonl(next((tmp_path / "outputs/partition").glob("*/phases.jsonl")))
    assert [phase["ids"] for phase in phases] == [ranking[:6]], "easy to hard, whatever the name"
