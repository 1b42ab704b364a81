"""An encoder-decoder pair through every stage: whole, killed and continued, with every way to train, and what it
cannot do."""

from pathlib import Path

import pytest

from srd.cli import main
from tests.conftest import Cli
from tests.e2e.test_resume import assert_same, kill_when, progress
from tests.reading import manifest, read_jsonl
from tests.seq2seq import folder_of, seq2seq
from tests.small import model

pytestmark = pytest.mark.slow

T5 = "model=random_t5"


@pytest.fixture(scope="module")
def words(smoke: list[str]) -> list[str]:
    return [*smoke, T5, "evaluate.targets=[distill]", "engine.save_steps=1", "dataset.limit=12"]


@pytest.fixture(scope="module")
def straight(cli: Cli, words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    said = cli("run", *words, cwd=folder).stdout
    assert "ROUGE-L" in said
    return folder / "outputs"


def losses(outputs: Path) -> list[float]:
    (path,) = outputs.glob("distill/*/metrics.jsonl")
    return [row["train/loss_nats"] for row in read_jsonl(path)]


def test_every_stage_runs_and_the_ledger_counts_both_stacks(straight: Path) -> None:
    made = {path.parent.parent.name for path in straight.glob("*/*/manifest.json")}
    assert made >= {"finetune", "reflect", "rank", "filter", "partition", "cache", "distill", "evaluate"}
    for stage in ("reflect", "cache", "distill", "evaluate"):
        (path,) = straight.glob(f"{stage}/*/manifest.json")
        assert manifest(path.parent)["ledger"]["flops"] > 0
    reflections = read_jsonl(next(straight.glob("reflect/*/reflections.jsonl")))
    assert len(reflections) == 12
    assert all(row["nll"] > 0 for row in reflections)


def test_killed_and_continued_equals_straight(cli: Cli, words: list[str], straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "distill"
    assert kill_when(lambda: progress(folder) >= 2, ["run", *words], tmp_path)
    cli("run", *words, cwd=tmp_path)
    for stage in ("reflect", "distill", "evaluate"):
        assert_same(tmp_path / "outputs", straight, stage)


def test_a_live_teacher_and_the_ways_to_train(
    cli: Cli, words: list[str], straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for name, more in {
        "online": ["teacher.signal=online"],
        "sampled": ["teacher.signal=sampled", "schedule=constant"],
        "chosen": ["selection=sekd"],
        "written": ["method=gkd"],
        "seqkd": ["method=seqkd"],
        "adapter": ["model.student.lora.rank=2"],
    }.items():
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        # What is the same in all of them is there already.
        Path("outputs").mkdir()
        for stage in ("samples", "tokenizer", "finetune", "reflect"):
            (Path("outputs") / stage).symlink_to(straight / stage)
        if name == "adapter":  # peft's classes are none of transformers', which the annotations here are held to
            cli("run", *words, *more, cwd=tmp_path / name)
        else:
            assert main(["run", *words, *more]) == 0
        found[name] = losses(Path("outputs"))
    assert found["online"] == pytest.approx(losses(straight), rel=1e-4)
    assert all(found[name] != pytest.approx(losses(straight), rel=1e-6) for name in found.keys() - {"online"})
    assert len(found) == 6


def test_weights_in_folders_and_a_student_of_some_of_their_layers(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    for name, more in {"teacher": {"num_layers": 3, "num_decoder_layers": 3}, "student": {"num_layers": 2}}.items():
        folder_of(seq2seq(vocabulary=300, **more), tmp_path / name)
    pair = ["model=pair", "model.encoder_decoder=true", "model.template=prefix", "model.max_tokens=64"]
    pair += [f"model.{role}.name={tmp_path / role}" for role in ("teacher", "student")]
    pair += ["model.max_prompt_tokens=40", "curriculum=none", "filter.keep=1", "evaluate.targets=[distill]"]
    cli("run", *smoke, *pair, "model.student.layers=[1]", "model.student.decoder_layers=[0,1]", cwd=tmp_path)
    (config,) = (tmp_path / "outputs").glob("distill/*/best/config.json")
    assert '"num_layers": 1' in config.read_text()
    assert '"num_decoder_layers": 2' in config.read_text()
    folder_of(model("llama"), tmp_path / "llama")
    refused = {
        "model.template=chat": "an encoder reads one text and no turns",
        "engine.generation_backend=vllm": "vLLM has no encoder-decoder models",
        "model.encoder_decoder=false": "model.encoder_decoder=false: expected true: model.teacher has an encoder",
        f"method.corpus.path={tmp_path / 'rows.jsonl'}": "plain text has no prompts for the encoder",
        "dataset=text": "windows of plain text have no prompts for the encoder",
        f"model.student.name={tmp_path / 'llama'}": "choose two models of one kind",
    }
    for word, message in refused.items():
        line = cli("run", *smoke, *pair, word, cwd=tmp_path, code=2).stderr.strip()
        assert message in line.splitlines()[-1], word
    assert len(refused) == 6
