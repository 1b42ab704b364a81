"""The real command line, end to end on the smallest models: stages, reuse, sweeps, reports."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import reading
from tests.conftest import Cli, command, environment
from tests.reading import read_json, read_jsonl

pytestmark = pytest.mark.slow

STAGES = [
    "finetune role=teacher",
    "finetune role=student",
    "reflect",
    "rank",
    "filter",
    "partition",
    "cache",
    "distill",
    "evaluate",
]


@pytest.fixture(scope="module")
def finished(cli: Cli, smoke: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `srd run` has gone through once."""
    folder = tmp_path_factory.mktemp("finished")
    cli("run", *smoke, cwd=folder)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def manifests(folder: Path) -> dict[str, dict[str, object]]:
    return {
        str(path.parent.relative_to(folder / "outputs")): read_json(path)
        for path in (folder / "outputs").glob("*/*/manifest.json")
    }


def count(folder: Path, stage: str) -> int:
    return sum(name.startswith(stage + "/") for name in manifests(folder))


def test_the_stages_one_by_one_make_what_the_whole_run_makes(
    cli: Cli, smoke: list[str], finished: Path, tmp_path: Path
) -> None:
    for words in STAGES:
        cli(*words.split(), *smoke, cwd=tmp_path)
    assert manifests(tmp_path).keys() == manifests(finished).keys()
    for name, manifest in manifests(finished).items():
        for file, entry in manifest["files"].items():  # pyright: ignore
            if not file.endswith("metrics.jsonl"):
                assert manifests(tmp_path)[name]["files"][file] == entry, f"{name}/{file}"  # pyright: ignore
    assert len(manifests(finished)) == 13


def test_a_stage_without_its_inputs_names_the_command(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    done = cli("rank", *smoke, cwd=tmp_path, code=2)
    assert "not there yet; run `srd reflect`" in done.stderr
    done = cli("reflect", *smoke, cwd=tmp_path, code=2)
    assert "run `srd finetune role=student`" in done.stderr


def test_a_second_run_does_nothing_and_is_quick(cli: Cli, smoke: list[str], finished: Path) -> None:
    before = manifests(finished)
    begin = time.monotonic()
    done = cli("run", *smoke, cwd=finished)
    assert "nothing to do, all 13 artefacts are there" in done.stderr
    assert time.monotonic() - begin < 20  # the promise is 5 s on a quiet machine; `make bench` times it
    assert manifests(finished) == before


def test_a_manifest_names_its_causes(finished: Path) -> None:
    for name, manifest in manifests(finished).items():
        assert {
            "stage",
            "version",
            "settings",
            "inputs",
            "files",
            "ledger",
            "started",
            "code",
            "packages",
            "hardware",
        } <= manifest.keys(), name
        assert manifest["ledger"]["seconds"] >= 0  # pyright: ignore
        assert manifest["packages"]["torch"]  # pyright: ignore
    distill = next(manifest for name, manifest in manifests(finished).items() if name.startswith("distill/"))
    # Six samples of eight in phases of two, four and six, one epoch each.
    assert distill["ledger"]["sample_passes"] == 12  # pyright: ignore
    assert distill["ledger"]["training_tokens"] > 0  # pyright: ignore
    assert distill["ledger"]["flops"] > 0  # pyright: ignore


def test_logged_scalars_are_complete_and_a_phase_has_its_settings(finished: Path) -> None:
    rows = read_jsonl(next((finished / "outputs/distill").glob("*/metrics.jsonl")))
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    wanted = "loss_nats ce_nats kd_nats learning_rate temperature sft_weight gradient_norm tokens_per_second"
    assert {f"train/{name}" for name in wanted.split()} <= rows[0].keys()
    by_phase = {row["phase"]: (row["train/temperature"], round(row["train/sft_weight"], 6)) for row in rows}
    assert by_phase == {0: (1.0, 0.3), 1: (1.5, 0.2), 2: (2.0, 0.1)}


def test_a_sweep_over_the_kept_share_reflects_and_ranks_once(cli: Cli, smoke: list[str], copy: Path) -> None:
    cli("run", "-m", *smoke, "filter.keep=0.5,0.75,1.0", cwd=copy)
    assert {stage: count(copy, stage) for stage in ("reflect", "rank", "cache", "filter", "distill")} == {
        "reflect": 1,
        "rank": 1,
        "cache": 1,
        "filter": 3,
        "distill": 3,
    }


def test_changing_the_fusion_redoes_ranking_and_what_follows(cli: Cli, smoke: list[str], copy: Path) -> None:
    cli("run", *smoke, "rank.rrf_k=1", cwd=copy)
    assert {
        stage: count(copy, stage) for stage in ("finetune", "reflect", "rank", "filter", "partition", "distill")
    } == {"finetune": 2, "reflect": 1, "rank": 2, "filter": 2, "partition": 2, "distill": 2}


def test_changing_the_engine_redoes_nothing(cli: Cli, smoke: list[str], copy: Path) -> None:
    done = cli("run", *smoke, "engine.micro_batch_tokens=64", "engine.generation_sequences=3", cwd=copy)
    assert "nothing to do" in done.stderr


def test_two_processes_on_the_same_artefact_both_end_well(cli: Cli, smoke: list[str], copy: Path) -> None:
    for stage in ("distill", "evaluate"):
        shutil.rmtree(copy / "outputs" / stage)
    both = [
        subprocess.Popen(command("run", *smoke), cwd=copy, env=environment(), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    messages = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], messages
    assert count(copy, "distill") == 1
    assert not list((copy / "outputs").glob("*/*.partial"))


def test_an_edited_artefact_stops_the_next_stage_with_the_file(cli: Cli, smoke: list[str], copy: Path) -> None:
    """A file in a folder of the artefact's own; what else can be damaged is in tests/unit/test_artefacts.py."""
    folders = (copy / "outputs/finetune").glob("*")
    teacher = next(each for each in folders if reading.manifest(each)["settings"]["role"] == "teacher")
    path = teacher / "model/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    shutil.rmtree(copy / "outputs/cache")
    done = cli("cache", *smoke, cwd=copy, code=2)
    assert f"{path.relative_to(copy)}: changed since it was made" in done.stderr
    assert done.stderr.strip().count("\nsrd: ") <= 1


def test_report_show_and_ls_look_at_what_is_there(cli: Cli, smoke: list[str], copy: Path) -> None:
    cli("run", *smoke, "curriculum=none", "filter.keep=1", cwd=copy)
    done = cli("report", "smoke", cwd=copy)
    report = read_json(copy / "outputs/report/smoke/report.json")
    by_arm = {row["arm"]: row for row in report["rows"]}
    assert set(by_arm) == {"teacher (random)", "student (random)", "fkl", "fkl+baby_step-3, keep 0.75"}
    curated, plain = by_arm["fkl+baby_step-3, keep 0.75"], by_arm["fkl"]
    assert (curated["cost"]["sample_passes"], plain["cost"]["sample_passes"]) == (12, 8)
    assert curated["cost"]["seconds_by_stage"]["reflect"] > 0
    assert "reflect" not in plain["cost"]["seconds_by_stage"]
    assert curated["differences"].keys() == {"fkl"}
    assert "| teacher (random) |" in (copy / "outputs/report/smoke/report.md").read_text()
    assert '"training_samples":{"arm":' in (copy / "outputs/report/smoke/report.html").read_text()
    assert r"teacher (random) & heldout &" in (copy / "outputs/report/smoke/report.tex").read_text()
    assert "report.html" in done.stdout
    for stage in ("samples", "reflect", "rank", "partition", "cache", "distill", "evaluate"):
        name = next((copy / "outputs" / stage).glob("*/manifest.json")).parent.relative_to(copy / "outputs")
        assert "cost" in cli("show", str(name), cwd=copy).stdout
    listed = cli("ls", cwd=copy).stdout
    assert "smollm2" in listed
    assert "evaluate/" in listed
    assert "did you mean" in cli("report", "smokey", cwd=copy, code=2).stderr
    assert "no artefact" in cli("show", "rank/none", cwd=copy, code=2).stderr


def test_predictions_are_kept_for_every_id_and_seed(finished: Path) -> None:
    for path in (finished / "outputs/evaluate").glob("*/scores.jsonl"):
        rows = read_jsonl(path)
        assert len(rows) == 8
        assert {row["seed"] for row in rows} == {10, 20}
        assert rows == sorted(rows, key=lambda row: (row["task"], row["id"], row["seed"]))
        assert {"task", "id", "seed", "prediction", "rouge_l", "exact_match", "nll", "tokens", "cut"} <= rows[0].keys()


def test_tensorboard_gets_the_same_scalars(cli: Cli, smoke: list[str], copy: Path) -> None:
    pytest.importorskip("tensorboard")
    cli("distill", *smoke, "logger=tensorboard", "distill.seed=3", cwd=copy)
    assert list((copy / "outputs/tensorboard/distill").glob("*/events*"))


def test_the_report_says_what_was_planned_and_how_faithful_the_cache_is(cli: Cli, smoke: list[str], copy: Path) -> None:
    """The plan's FLOPs are the ledgers' where lengths decide them; a second run keeps the plan that was filed."""
    entry_file = next((copy / "outputs/report/smoke/runs").glob("*.json"))
    planned = read_json(entry_file)["planned"]
    assert len(planned) == 8
    checked = 0
    for manifest in manifests(copy).values():
        stage = f"{manifest['stage']} {manifest['settings'].get('role', '')}".strip()  # pyright: ignore
        if manifest["stage"] in ("finetune", "cache", "distill"):
            assert planned[stage]["flops"] == pytest.approx(manifest["ledger"]["flops"], rel=0.05)  # pyright: ignore
            checked += 1
    assert checked == 4
    cache = next((copy / "outputs/cache").glob("*/"))
    stored = sum(path.stat().st_size for path in [*cache.glob("states-*"), cache / "head.safetensors"])
    assert planned["cache"]["disk_bytes"] == pytest.approx(stored, rel=0.05)
    cli("run", *smoke, cwd=copy)
    assert read_json(entry_file)["planned"] == planned
    cli("report", "smoke", cwd=copy)
    report = (copy / "outputs/report/smoke/report.md").read_text()
    assert "| distill | " in report.split("## The plan")[1]
    assert "KL(online teacher ‖ cached) is" in report
