"""What README says of adding something is so: one file, one line, and it runs end to end, report included."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from srd.cli import COMMANDS, Command, main, usage
from srd.config import Positions
from srd.datasets import DATASETS
from srd.distillation.divergences import DIVERGENCES, Divergence
from srd.metrics import METRICS, Metric
from srd.pipeline.catalogue import STAGES, Stage
from srd.report.scores import results_of
from srd.report.study import read_study
from srd.report.tables import cost_table
from srd.runtime.loggers import LOGGERS
from srd.selection.curricula import CURRICULA, Rule
from srd.selection.importance import IMPORTANCE, Importance
from srd.selection.positions import POLICIES, Policy, quota
from srd.selection.ranking import SIGNALS, Signal
from srd.stages.noise import CORRUPTIONS, Corruption
from srd.text.prompts import TEMPLATES
from tests.reading import read_jsonl

pytestmark = pytest.mark.slow  # twelve small runs

Run = Callable[..., str]
"""Runs the smallest pipeline with some overrides and returns its report as Markdown."""
Load = Callable[[str, str], ModuleType]
"""Writes a file with a name and some code, and imports it."""
KINDS = {
    "method", "divergence", "metric", "ranking_signal", "curriculum", "data_set", "template", "logger", "stage",
    "position_signal", "position_policy", "selection", "corruption",
}  # fmt: skip


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    def written(name: str, code: str) -> ModuleType:
        path = tmp_path / f"{name.rpartition('.')[2]}.py"
        path.write_text(code)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return written


@pytest.fixture
def run(smoke: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def reported(*overrides: str) -> str:
        assert main(["run", *smoke, "engine.threads=1", "evaluate.targets=[distill]", *overrides]) == 0
        assert main(["report", "smoke"]) == 0
        return (tmp_path / "outputs/report/smoke/report.md").read_text()

    return reported


def test_every_kind_has_its_test() -> None:
    assert {name.removeprefix("test_a_new_") for name in globals() if name.startswith("test_a_new_")} == KINDS


def test_a_new_method(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more/method").mkdir(parents=True)
    (tmp_path / "more/method/soft.yaml").write_text("# Ours.\nname: soft\ndivergence: jensen_shannon\n")
    assert "| soft+baby_step-3" in run(f"hydra.searchpath=[file://{tmp_path}/more]", "method=soft")


def test_a_new_divergence(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(
        "hellinger",
        '''
def hellinger(logp, logq, weight=1.0):
    """1 - Σ √(pq): squared Hellinger distance."""
    return weight * (1 - (0.5 * (logp + logq)).exp().sum(-1))
''',
    )
    monkeypatch.setitem(DIVERGENCES, "hellinger", Divergence(module.hellinger, published_power=2))
    report = run("method.divergence=hellinger", "+method.parameters.weight=0.5", "arm=by hellinger")
    assert "| by hellinger |" in report


def test_a_new_metric(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(
        "brevity",
        """
def brevity(answer, instruction):
    return len(answer) / (1 + len(instruction))
""",
    )
    needs = ("instruction",)
    monkeypatch.setitem(METRICS, "brevity", Metric(module.brevity, "SHORT", False, needs, scale=1, decimals=3))
    report = run("distill.select_by=brevity", "evaluate.metrics=[rouge_l,exact_match,brevity]")
    assert "| SHORT | 95 % interval |" in report, "it heads the report, because it chose the weights"
    assert "| ROUGE-L | EM |" in report
    dev = next(Path("outputs/distill").glob("*/dev.jsonl")).read_text()
    assert '"dev/brevity": ' in dev


def test_a_new_ranking_signal(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("question", "def words(sample, seed):\n    return float(len(sample.instruction.split()))\n")
    monkeypatch.setitem(SIGNALS, "words", Signal(larger_is_harder=True, of_sample=module.words))
    report = run("rank.signals=[words,length]", "dataset.corrupt=0.5", "arm=by words")
    assert "words 0." in report.split("## Corrupted rows")[1]


def test_a_new_corruption(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shouted = Corruption(lambda sample: True, lambda sample, samples, rng: iter([(sample.references[0].upper(), None)]))
    monkeypatch.setitem(CORRUPTIONS, "shouted", shouted)
    assert "## Corrupted rows" in run("dataset.corrupt=0.5", "dataset.corrupt_kind=shouted")
    training = [
        row for row in read_jsonl(next(tmp_path.glob("outputs/samples/*/samples.jsonl"))) if row["split"] == "train"
    ]
    assert [row["output"].isupper() for row in training].count(True) == len(training) // 2 == 4


def test_a_new_curriculum(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(
        "twice",
        """
def twice(ids, settings):
    assert settings.replay == 0.5, "it reads what it declares"
    return [ids, ids]
""",
    )
    monkeypatch.setitem(CURRICULA, "twice", Rule(module.twice, ("replay",)))
    report = run("curriculum.name=twice", "curriculum.phases=2", "curriculum.replay=0.5")
    assert "| fkl+twice-2, keep 0.75 |" in report


def test_a_new_position_signal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    margin = Importance(lambda known: 1 - known.logq.exp().amax(-1), student=True)  # pyright: ignore
    monkeypatch.setitem(IMPORTANCE, "margin", margin)
    chosen = [f"selection.positions.{key}" for key in ("policy=top", "signal=margin", "share=0.5")]
    assert "| fkl+baby_step-3, keep 0.75+top 0.5 margin |" in run(*chosen)


def test_a_new_position_policy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def bottom(length: int, settings: Positions, done: float) -> tuple[int, int]:
        return length - quota(length, settings.share), length

    monkeypatch.setitem(POLICIES, "bottom", Policy(bottom))
    assert "| the surest |" in run(
        "selection.positions.policy=bottom", "selection.positions.share=0.5", "arm=the surest"
    )


def test_a_new_selection(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more/selection").mkdir(parents=True)
    (tmp_path / "more/selection/half.yaml").write_text("# Ours.\npositions: {policy: top, signal: early, share: 0.5}\n")
    assert "+top 0.5 early |" in run(f"hydra.searchpath=[file://{tmp_path}/more]", "selection=half")


def test_a_new_data_set(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(
        "sums",
        """
def source(dataset):
    return {"numbers": 40}

def load(dataset):
    for i in range(40):
        yield {"instruction": f"{i} + {i}", "input": "", "output": str(2 * i), "split": "train", "where": str(i)}
""",
    )
    monkeypatch.setitem(DATASETS, "sums", module)
    assert "| arithmetic |" in run("dataset.name=sums", "dataset.path=null", "arm=arithmetic")


def test_a_new_template(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("dialogue", 'def dialogue(sample, tokenizer):\n    return f"Q: {sample.instruction}\\nA: "\n')
    monkeypatch.setitem(TEMPLATES, "dialogue", module.dialogue)
    assert "| asked |" in run("model.template=dialogue", "arm=asked")


def test_a_new_logger(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(
        "counting",
        """
from contextlib import contextmanager

rows = []

@contextmanager
def counting(settings, name, outputs):
    yield rows.append
""",
    )
    monkeypatch.setitem(LOGGERS, "counting", module.counting)
    assert "## Scores" in run("logger.name=counting")
    assert any("train/loss_nats" in row for row in module.rows)
    assert any("dev/rouge_l" in row for row in module.rows)


def test_a_new_stage(run: Run, load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One file with its nodes, its settings and `make`, and one line of the catalogue."""
    load(
        "srd.stages.count",
        """
from dataclasses import dataclass

from srd.pipeline import graph
from srd.store.artefacts import Node

def nodes(cfg):
    return Node("count", 1, {"at_least": 2}, {"samples": graph.samples(cfg.dataset)})

@dataclass
class Settings:
    at_least: int

def make(work):
    lines = (work.inputs["samples"] / "samples.jsonl").read_text().splitlines()
    assert len(lines) >= work.settings.at_least
    (work.path / "count.txt").write_text(str(len(lines)))
    work.leaves.add("count.txt")
""",
    )
    stage = Stage("count the samples", "srd.stages.count:nodes", cost_column="of it count")
    monkeypatch.setitem(STAGES, "count", stage)
    monkeypatch.setitem(COMMANDS, "count", Command(stage.help, "srd.commands.run:run_stage"))
    run()
    rows = results_of(read_study(Path("outputs"), "smoke"))
    rows[0].cost.seconds_by_stage["count"] = 1.0
    assert "of it count" in cost_table(rows)[0]
    assert "count the samples" in usage()
    capsys.readouterr()
    assert main(["count", "debug=smoke", "dataset=pydoc"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "count.txt").read_text() == "16"
    assert main(["show", f"count/{folder.name}"]) == 0
    assert "file       count.txt" in capsys.readouterr().out
