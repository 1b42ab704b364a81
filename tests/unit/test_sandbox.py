"""Generated code: what passes, what never does, and that none of it leaves a trace or reaches anything."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srd.config import Code
from srd.errors import UserError
from srd.metrics import isolation, walls
from srd.metrics.sandbox import Checks, Outcome, run_python
from tests.hostile import ASKED, FORGERIES, GREED, HARM, Hostile

GOOD = "def f(x):\n    return x + 1\n"
KINDS = ("bwrap", "unshare", "none")
DISK_MB = 3 + os.getpid() % 13
"""A limit by which the processes of this test are known."""
LIMITS = {"seconds": 3.0, "cpu_seconds": 1, "memory_mb": 256, "disk_mb": DISK_MB, "output_kb": 64}
SLACK_SECONDS = 5.0
"""For starting and ending on a machine that does other things as well."""


def limits_and_words(kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Code, list[str]]:
    """Limits, and the words of a kind of isolation if it works here."""
    code = Code(isolation=kind, **LIMITS)
    if kind == "none" and os.geteuid() == 0 and not _open_to_nobody(isolation.python()):
        # Root's own Python is closed to nobody.
        monkeypatch.setattr(isolation, "python", lambda: "/usr/bin/python3")
        walls.working.cache_clear()
    try:
        return code, walls.walls(code)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(params=KINDS)
def shut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Code, list[str]]:
    """Every kind of isolation that works here."""
    return limits_and_words(request.param, monkeypatch)


@pytest.fixture(params=KINDS[:-1])
def walled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Code, list[str]]:
    """Every kind that has walls."""
    return limits_and_words(request.param, monkeypatch)


@pytest.fixture
def anyhow() -> tuple[Code, list[str]]:
    """The first kind that works here, for what does not depend on it."""
    code = Code(**LIMITS)
    try:
        return code, walls.walls(code)
    except UserError as error:
        pytest.skip(str(error))


def _open_to_nobody(path: str) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in Path(path).parents)


def verified(shut: tuple[Code, list[str]], hostile: Hostile) -> Outcome:
    code, words = shut
    code.processes = hostile.processes
    began = time.monotonic()
    outcome = run_python(hostile.program, Checks(hostile.tests), code, words)
    assert time.monotonic() - began < code.seconds + SLACK_SECONDS, "it ended within its limit"
    return outcome


def left_over() -> list[str]:
    """Processes of the machine that have this test's limit on files."""
    found = []
    for limits in Path("/proc").glob("[0-9]*/limits"):
        try:
            lines = limits.read_text().splitlines()
        except OSError:
            continue
        if any(line.startswith("Max file size") and line.split()[3] == str(DISK_MB << 20) for line in lines):
            found.append(limits.parent.name)
    return found


def gone() -> bool:
    """Whether they are all gone, at once or soon: the end of a namespace takes its moment."""
    for _ in range(40):
        if not left_over():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user that the code runs as."""
    process = subprocess.Popen([*isolation.as_nobody(), "sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_what_solves_its_task_passes(shut: tuple[Code, list[str]]) -> None:
    tests = ["assert f(1) == 2", "assert f(2.5) == 3.5", "import math\nassert f(math.inf) > 0", "assert f(2**80) % 2"]
    assert run_python(GOOD, Checks(tests), *shut) == Outcome(True, "passed")
    with_class = "class Node:\n  def __init__(self, v): self.v, self.left = v, None\ndef f(n): return n.left.v"
    assert run_python(with_class, Checks(["assert f(root) == 7"], "root = Node(1)\nroot.left = Node(7)"), *shut).passed
    generator = "def f(n):\n  for i in range(n): yield (i, {i: [str(i)]})\n"
    assert run_python(generator, Checks(["assert list(f(2)) == [(0, {0: ['0']}), (1, {1: ['1']})]"]), *shut).passed
    raising = "def f(x): raise KeyError(x)"
    assert run_python(raising, Checks(["try:\n  f(1)\n  assert False\nexcept KeyError:\n  pass"]), *shut).passed


@pytest.mark.slow  # with the next one the campaign: some twenty seconds of interpreters that start and end
@pytest.mark.parametrize("name", FORGERIES)
def test_no_pass_is_forged(anyhow: tuple[Code, list[str]], name: str) -> None:
    assert not verified(anyhow, FORGERIES[name]).passed


@pytest.mark.slow
@pytest.mark.parametrize("name", [*GREED, *HARM])
def test_nothing_takes_more_than_it_is_given(
    shut: tuple[Code, list[str]], name: str, bystander: subprocess.Popen[bytes]
) -> None:
    hostile = (GREED | HARM)[name]
    if shut[0].isolation == "none" and hostile.needs_walls:
        pytest.skip(f"{name}: without walls it would do harm")
    assert not verified(shut, hostile).passed
    assert bystander.poll() is None, "nobody else was ended"
    assert gone(), "no process is left"


def test_the_campaign_is_whole() -> None:
    assert [len(FORGERIES), len(GREED), len(HARM)] == [38, 9, 7]
    assert all(hostile.tests for hostile in (FORGERIES | GREED | HARM).values()), "without tests nothing could pass"


def test_nothing_outside_is_written_or_read(walled: tuple[Code, list[str]], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame")
    places = [str(place / "srd-was-here") for place in (tmp_path, Path.home(), Path.cwd(), Path("/"), Path("/usr"))]
    places += ["/dev/srd-was-here", "/dev/shm/srd-was-here", f"{isolation.prefix()}/srd-was-here"]
    program = (
        "import os\n"
        "def write(path):\n  try:\n    open(path, 'w').write('x')\n    return True\n  except OSError: return False\n"
        "def read(path):\n  try:\n    return open(path).read()\n  except OSError: return None\n"
        "def names(path): return os.listdir(path) if os.path.isdir(path) else []\n"
    )
    tests = [
        f"assert not any(write(each) for each in {places})",
        "assert write('inside') and read('/tmp/inside') == 'x'",
    ]
    tests.append(f"assert read({str(tmp_path / 'secret')!r}) is None and read('/etc/passwd') is None")
    at_home = set(os.listdir(Path.home())) - set(isolation.prefix().split("/"))
    tests.append(f"assert not set(names({str(Path.home())!r})) & {at_home}")
    tests.append("assert not names('/proc') and not names('/etc') and not names('/var')")
    outcome = run_python(program, Checks(tests), *walled)
    assert outcome.passed, outcome.why
    assert not [place for place in places if Path(place).exists()]
    assert not (Path("/tmp") / "inside").exists()


def test_no_socket_and_no_variable_reaches_anything(
    walled: tuple[Code, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "open sesame")
    program = (
        "import os, socket\n"
        "def reach(kind, place):\n  try:\n    with socket.socket(kind, 1) as s:\n"
        "      s.settimeout(1)\n      s.connect(place)\n"
        "    return True\n  except OSError: return False\n"
        "def variables(): return dict(os.environ)\n"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as local,
        socket.socket(socket.AF_UNIX) as file,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        places = [
            (2, local.getsockname()),
            (1, str(tmp_path / "socket")),
            (1, f"\0srd-{os.getpid()}"),
            (2, ("192.0.2.1", 80)),
        ]
        file.bind(places[1][1])
        abstract.bind(places[2][1])
        file.listen()
        abstract.listen()
        for kind, place in places[:3]:
            with socket.socket(kind, 1) as out:
                out.connect(place)  # here it does
        outcome = run_python(program, Checks([f"assert not any(reach(*each) for each in {places})"]), *walled)
        assert outcome.passed, outcome.why
    assert run_python(program, Checks(["assert variables() == {}"]), *walled).passed


def test_the_code_goes_when_who_asked_is_killed(walled: tuple[Code, list[str]]) -> None:
    if (pid := os.fork()) == 0:
        run_python("import time\ntime.sleep(100)", Checks(ASKED), *walled)
        os._exit(0)
    time.sleep(1)
    assert left_over(), "it runs"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert gone(), "it does not outlive who asked for it"


def test_a_machine_that_shuts_nothing_away_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    walls.working.cache_clear()
    monkeypatch.setattr(isolation.shutil, "which", lambda name: None)
    with pytest.raises(
        UserError, match=r"bwrap is not installed; unshare is not installed.*evaluate.code.isolation=none"
    ):
        walls.walls(Code())
    monkeypatch.undo()
    monkeypatch.setitem(isolation.WALLS, "unshare", lambda code: ["false"])
    monkeypatch.setitem(isolation.WALLS, "bwrap", lambda code: ["false"])
    with pytest.raises(UserError, match="two interpreters did not start"):
        walls.walls(Code())
    monkeypatch.setitem(isolation.WALLS, "unshare", isolation.no_walls)
    with pytest.raises(UserError, match="unshare: test 2 of"):
        walls.walls(Code())
    walls.working.cache_clear()
