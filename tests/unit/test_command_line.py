"""What is typed: words that are mended for Hydra, words that get a line of our own, settings that nothing reads."""

import io
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import srd.commands.run
from srd import cli
from srd.commands.compose import run_hydra, to_config
from srd.commands.schema import bare, kinds
from srd.config import Config
from srd.errors import UserError
from tests.composing import composed as tree

pytestmark = pytest.mark.slow  # some hundred compositions


def composed(*words: str, command: str = "run") -> list[Config]:
    """The configs that a command line asks for."""
    seen: list[Config] = []
    run_hydra(command, list(words), seen.append)
    return seen


def mistake(*words: str, command: str = "run") -> str:
    """The one line that a command line is answered with."""
    with pytest.raises(UserError) as caught:
        composed(*words, command=command)
    assert "\n" not in str(caught.value)
    return str(caught.value)


FLOATS = [key for key in kinds() if bare(key) is float]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_no_number_may_be_infinite_or_none(value: str) -> None:
    shown, whole = {"1e999": "inf"}.get(value, value), tree()
    for key in FLOATS:
        mistaken = whole.copy()
        OmegaConf.update(mistaken, key, value, force_add=True)
        with pytest.raises(UserError) as caught:
            to_config(mistaken)
        assert str(caught.value) == f"{key}={shown}: expected a finite number"
    assert len(FLOATS) > 40


WORDS = {
    "method=null": "unknown option 'method=null'; choices: adakd",
    "logger=true": "unknown option 'logger=true'; choices: none",
    "curriculum=3": "unknown option 'curriculum=3'; choices: baby_step",
    "~method": "~method: expected an option, as in method=NAME",
    "method=[fkl,jsd]": "expected one option; each in turn is a sweep: srd run -m method=fkl,jsd",
    "~filter.keep": "~filter.keep: a setting cannot be taken away; give it another value: filter.keep=…",
    "filter.keep": "cannot read the override 'filter.keep'; give it a value: filter.keep=…",
    "keep 1": "cannot read the override 'keep 1'; expected key=value",
    "=3": "cannot read the override '=3'",
    "seed=3": "unknown key 'seed'; did you mean 'distill.seed'?",
    "ключ=3": "unknown key 'ключ'",
    "filter.keep=0.5,1": "several values are a sweep, which needs -m; write: srd run -m filter.keep=0.5,1",
    "dataset=jsonl,hub": "write: srd run -m dataset=jsonl,hub",
    "evaluate.seeds=10": "expected a list in brackets, each whole number, as in evaluate.seeds=[…]; write: srd run 'ev",
    "evaluate.targets=distill": "write: srd run 'evaluate.targets=[distill]'",
    "evaluate.targets=[[distill]]": "expected a list without another list in it",
    "filter.keep=some": "filter.keep=some: expected a share in (0, 1], or auto",
    "filter.keep=": "filter.keep=: expected a share in (0, 1], or auto",
    "filter.keep=null": "filter.keep=null: expected a number",
    "distill.seed=1.5": "distill.seed=1.5: expected a whole number",
    "dataset.strict=maybe": "dataset.strict=maybe: expected true or false",
    "filter=3": "filter=3: expected one of its keys, as in filter.keep=…",
    "outputs=null": "outputs=null: expected text",
    "distill.seed=18446744073709551616": "expected a number of at most 64 bits",
    f"distill.learning_rate=1{'0' * 400}": "expected a number of at most 64 bits",
    "engine.threads=100000": "engine.threads=100000: expected a whole number from 1 to 4096",
    "curriculum.phases=1000000000": "curriculum.phases=1000000000: expected a whole number from 1 to 1000",
    "model.vocabulary=1000000000": "model.vocabulary=1000000000: expected a whole number from 300 to 16777216",
    "model.student.finetune.learning_rate=0": "model.student.finetune.learning_rate=0.0: expected more than 0",
    "distill.learning_rate_end=-1": "distill.learning_rate_end=-1.0: expected 0 or more",
    "method.answers.top_p=2": "method.answers.top_p=2.0: expected a probability in (0, 1]",
    "engine.device=cpu:1": "engine.device=cpu:1: expected auto, cpu, cuda, cuda:N or mps",
    "study=": "study=: expected a name",
    "study=../x": "study=../x: expected a name",
    "published=pocl_gpt2/fkll": "unknown row of published=pocl_gpt2/ROW 'fkll'; did you mean 'fkl'?",
    "dataset.path=${nosuch}": "dataset.path: nothing is called what ${…} names",
    "rank.signals=${study}": "rank.signals=default: expected a list in brackets, each text",
    "evaluate.suites.heldout.limit=x": "these words make no config",
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_is_no_setting_is_answered_in_our_words(word: str) -> None:
    assert WORDS[word] in mistake(word)
    assert len(WORDS) == 38


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--filter.keep=0.5"], "settings have no dashes; write: srd run filter.keep=0.5"),
        (["--seed", "3"], "settings have no dashes; write: srd run distill.seed=3"),
        (["--learning-rate", "1e-3"], "write: srd run distill.learning_rate=1e-3"),
        (["--verbose"], "unknown flag '--verbose'; there are -m (a sweep)"),
        (["--cfg", "jbo"], "--cfg jbo: expected job; write: srd run --cfg job"),
    ],
)
def test_a_flag_that_there_is_not_is_answered_with_what_to_write(words: list[str], line: str) -> None:
    assert line in mistake(*words)


@pytest.mark.parametrize(
    "name",
    ["rows=1.jsonl", "a,b.jsonl", "ряд.jsonl", "a b (1).jsonl", "[x]{y}.jsonl", "a#b~c$d&e;f.jsonl", "it's", "1e3"],
)
def test_a_path_means_itself_whatever_its_characters(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a sweep leaves its record in its outputs
    (one,) = composed("dataset=jsonl", f"dataset.path={name}", f"arm={name}")
    assert (one.dataset.path, one.arm) == (name, name)
    if "," not in name:
        swept = composed("-m", "dataset=jsonl", "dataset.path=first,second", f"outputs={name}")
        assert [(cfg.dataset.path, cfg.outputs) for cfg in swept] == [("first", name), ("second", name)]


def test_a_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    (cfg,) = composed("outputs=~/x", "dataset=jsonl", "dataset.path=~/rows=1.jsonl")
    assert (cfg.outputs, cfg.dataset.path) == ("/somewhere/x", "/somewhere/rows=1.jsonl")


def test_flags_may_stand_anywhere_and_signs_do_not_matter() -> None:
    assert [cfg.filter.keep for cfg in composed("method=jsd", "-m", "filter.keep=0.5,1")] == [0.5, 1.0]
    assert [cfg.filter.keep for word in ("", "+", "++") for cfg in composed(f"{word}filter.keep=0.5")] == [0.5] * 3
    (cfg,) = composed("+method=jsd", "experiment=null", "debug=null", "recipe=null")
    assert (cfg.method.name, cfg.generation.max_new_tokens) == ("jsd", 256)
    assert composed("method=jsd", "--cfg", "job", "filter.keep=0.5") == []


NOTHING = {
    "schedule=constant schedule.temperature.end=4": "schedule.temperature.end=4 does nothing with method=fkl sch",
    "curriculum=none curriculum.phases=5": "curriculum.phases=5 does nothing with curriculum=none",
    "curriculum.seed=3": "curriculum.seed=3 does nothing with curriculum=baby_step",
    "evaluate.generation.temperature=0 evaluate.seeds=[1,2]": "evaluate.seeds=[1,2] does nothing with evaluate.",
    "reflect.seed=3": "reflect.seed=3 does nothing with reflect.generation.temperature=0.0",
    "reflect.generation.top_k=5": "reflect.generation.top_k=5 does nothing with reflect.generation.temperature=0.0",
    "filter.seed=3": "filter.seed=3 does nothing with filter.keep=0.75 filter.by=rank",
    "rank.seed=3": "rank.seed=3 does nothing with rank.signals=",
    "model.student.lora.alpha=3": "does nothing with model.student.lora.rank=0",
    "model.teacher.lora.merge=false": "only the student's adapter can be left apart",
    "method=sft teacher.signal=online": "teacher.signal=online does nothing with method=sft",
    "method=sft method.temperature_power=0": "method.temperature_power=0 does nothing with method=sft",
    "method.answers.temperature=0.5": "does nothing with method.responses=references",
    "method.student_data.every_steps=2": "does nothing with method.student_data.share=0.0",
    "method.corpus.weight=3": "does nothing with method.corpus.path=null",
    "dataset.corrupt_seed=3": "does nothing with dataset.corrupt=0.0",
    "dataset.corrupt_kind=garbled": "does nothing with dataset.corrupt=0.0",
    "dataset.warmup_samples=5 model.student.finetune.split=train": "does nothing with model.teacher.finetune",
    "evaluate.path=x": "evaluate.path=x does nothing with evaluate=heldout",
    "logger.project=x": "logger.project=x does nothing with logger=none",
    "teacher.signal=online teacher.disk_gb=3": "teacher.disk_gb=3 does nothing with method=fkl teacher.signal=online",
    "model.teacher.trust_remote_code=true": "does nothing with model.teacher.name=null",
    "model=random model.student.finetune.epochs=0 model.student.finetune.clip_norm=3": "finetune.epochs=0",
    "plan.gpu=l4": "plan.gpu=l4 is read by `srd plan` alone; drop it",
    "role=student": "role=student is read by `srd finetune` alone; drop it",
}


@pytest.mark.parametrize("words", NOTHING)
def test_a_setting_that_nothing_reads_is_refused_and_in_a_sweep_said(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = mistake(*words.split())
    assert NOTHING[words] in line
    assert line.endswith("; drop it")
    said: list[str] = []
    monkeypatch.setattr("srd.commands.compose.say", said.append)
    assert len(composed("-m", *words.split())) == 1
    assert [each for each in said if not each.startswith("job ")] == [line]
    assert len(NOTHING) == 25


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("curriculum=none curriculum.phases=1", []),
        ("schedule=constant schedule.temperature.end=1.0", []),
        ("schedule=pocl curriculum.phases=4", []),
        ("evaluate.generation.temperature=0 evaluate.seeds=[10]", []),
        ("method=rkl method.temperature_power=0", []),
        ("teacher.signal=hidden", []),
        ("teacher.dtype=float32", []),
        ("filter.by=random filter.seed=3", []),
        ("generation.max_new_tokens=16", []),
        ("model.student.lora.rank=2 model.student.lora.alpha=3", []),
        ("dataset=hub dataset.hub=a/b dataset.revision=c dataset.columns.output=answer", []),
        ("dataset.warmup_samples=null", []),
        ("dataset.warmup_samples=5", []),
        ("study=a arm=b engine.threads=1 logger=wandb logger.project=x", []),
        ("filter.keep=1 curriculum=none rank.signals=[nll]", ["not read by this `srd run`: rank.signals=[nll]"]),
        ("evaluate.targets=[teacher] distill.epochs=4", ["not read by this `srd run`: distill.epochs=4"]),
        ("method=sft schedule=constant", ["schedule=constant does nothing with method=sft"]),
    ],
)
def test_a_setting_that_is_read_or_changes_nothing_is_taken(
    words: str, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("srd.commands.compose.say", said.append)
    assert len(composed(*words.split())) == 1
    assert said == lines


def printed(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(list(words))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError("deep"), AssertionError(), RuntimeError("two\nlines")])
def test_an_unexpected_error_is_one_line_and_a_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cfg: Config) -> None:
        raise error

    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(srd.commands.run, "run", fail)
    code, _, line = printed("run", f"outputs={tmp_path}")
    (kept,) = (tmp_path / "errors").iterdir()
    assert code == 1
    assert line.startswith(f"srd: unexpected error, {type(error).__name__}")
    assert line.endswith(f"the traceback is in {kept}\n")
    assert line.count("\n") == 1
    assert "Traceback" in kept.read_text()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert printed("run", f"outputs={tmp_path}")[0] == 1
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(type(error)):
        printed("run", f"outputs={tmp_path}")


def test_memory_that_is_refused_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(cfg: Config) -> None:
        raise MemoryError

    monkeypatch.setattr(srd.commands.run, "run", fail)
    code, _, line = printed("run", f"outputs={tmp_path}")
    assert (code, line.partition(";")[0]) == (2, "srd: out of memory")


@pytest.mark.parametrize("word", ["run", "report", "show", "ls", "table", "plan", "finetune"])
def test_every_command_has_help(word: str) -> None:
    for flag in ("-h", "--help"):
        code, out, err = printed(word, "x", flag)
        assert (code, err) == (0, "")
        assert out.startswith(f"srd {word}: ")
        assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["report", "study=smoke"], "study=smoke: srd report takes the name alone; write: srd report smoke"),
        (["report", "--all"], "unknown flag '--all'; there are outputs=FOLDER, --open and --help"),
        (["report", "smoek"], "unknown study 'smoek' in outputs; there are none"),
        (["table", "stdy"], "unknown table 'stdy'; did you mean 'study'?"),
        (["show", "-x"], "unknown flag '-x'"),
    ],
)
def test_commands_that_hydra_does_not_read(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = printed(*words)
    assert code == 2
    assert line in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("there", [True, False])
def test_the_page_opens_in_a_browser_where_there_is_one(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from srd.commands.report import show_page

    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or there)
    show_page(tmp_path / "a study" / "report.html")
    assert opened == [f"file://{tmp_path}/a%20study/report.html"]
    assert ("no browser here; open" in capsys.readouterr().err) is not there


def test_a_world_size_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "abc")
    code, _, err = printed("run", f"outputs={tmp_path}")
    assert (code, err.partition(":")[2].strip().partition(":")[0]) == (2, "WORLD_SIZE=abc")


def test_an_arm_that_the_study_does_not_have_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from srd.report.study import file_run
    from tests.composing import config

    said: list[str] = []
    monkeypatch.setattr("srd.commands.compose.say", said.append)
    words = ["debug=smoke", f"outputs={tmp_path}", "versus=[plian]"]
    composed(*words)
    file_run(config("debug=smoke", "arm=plain", f"outputs={tmp_path}"))
    composed(*words)
    assert said == ["versus: no arm 'plian' in study 'smoke' yet; did you mean 'plain'? choices: plain"]


def test_a_text_that_the_terminal_cannot_show_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stream: Any = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    assert cli.main(["run", "filter.keep=λ→"]) == 2
    stream.flush()
    assert stream.buffer.getvalue().startswith(b"srd: ")


@pytest.mark.parametrize("end", ["sys.exit(cli.main())", "cli.program()"])
def test_an_interrupt_inside_code_made_from_a_string_ends_with_its_exit_code(tmp_path: Path, end: str) -> None:
    """The interpreter remembers such an interrupt and would end a module by it: so without `program`."""
    lines = ["import sys, srd.cli as cli", "cli.dispatch = lambda *words: exec('raise KeyboardInterrupt')"]
    (tmp_path / "ended.py").write_text("; ".join([*lines, "sys.argv = ['srd', 'ls']", end]))
    words = [sys.executable, "-m", "ended"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == (130 if "program" in end else -signal.SIGINT)
    assert ran.stderr.strip() == "srd: interrupted; the same command continues"


@pytest.mark.parametrize(
    "word",
    [
        "++method.student_data.generation=${oc.env:HOME}",
        "++teacher=${arm}",
        "++rank.signals=${oc.env:HOME}",
        "++evaluate.suites=${study}",
        "++selection.positions=${distill.epochs}",
    ],
)
def test_what_an_interpolation_gives_for_a_section_or_a_list_is_checked(word: str) -> None:
    key = word[2:].partition("=")[0]
    with pytest.raises(UserError, match=rf"^{re.escape(key)}=.*: expected (one of its|a list)"):
        composed("debug=smoke", "arm=some", word)


def test_a_study_whose_first_run_was_killed_is_unknown(tmp_path: Path) -> None:
    from srd.report.study import read_study

    (tmp_path / "report" / "half" / "runs").mkdir(parents=True)
    with pytest.raises(UserError, match=r"unknown study 'half' in .*; there are none; `srd run study=half` starts one"):
        read_study(tmp_path, "half")
