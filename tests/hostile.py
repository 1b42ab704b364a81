"""Programs that would pass their tests without solving them, or harm the machine: none may."""

from dataclasses import dataclass, field

ASKED = ["assert f(1) == 2", "assert f(2) == 3"]


@dataclass(frozen=True)
class Hostile:
    """A program, and what it must not pass."""

    program: str
    tests: list[str] = field(default_factory=lambda: ASKED)
    needs_walls: bool = False
    """It would harm who is not shut away."""
    processes: int = 0
    """How many it may start, so that it gets that far."""


FORGERIES = {
    "nothing": Hostile(""),
    "a wrong value": Hostile("def f(x): return x"),
    "sys.exit(0) before the asserts": Hostile("import sys\ndef f(x): sys.exit(0)"),
    "sys.exit(0) at once": Hostile("import sys; sys.exit(0)"),
    "exit code 0": Hostile("import os\ndef f(x): os._exit(0)"),
    "exit code 0 at once": Hostile("import os; os._exit(0)"),
    "exit code 1": Hostile("import os\ndef f(x): os._exit(1)"),
    "atexit": Hostile("import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(x): raise SystemExit(0)"),
    "says that it passed": Hostile(
        'print(\'{"token": null, "why": "passed"}\')\nprint("passed")\ndef f(x): print("ok")'
    ),
    "another assert": Hostile("import builtins\nbuiltins.AssertionError = Warning\ndef f(x): return 0"),
    "another exit": Hostile("import builtins, sys\nbuiltins.exit = sys.exit = print\ndef f(x): raise AssertionError"),
    "another __eq__": Hostile(
        "class A(int):\n  def __eq__(self, other): return True\n  __hash__ = None\ndef f(x): return A(0)"
    ),
    "always equal": Hostile("class A:\n  def __eq__(self, other): return True\ndef f(x): return A()"),
    "another class": Hostile("class A:\n  __class__ = int\n  def __eq__(self, o): return True\ndef f(x): return A()"),
    "equal in a list": Hostile(
        "class A:\n  def __eq__(self, other): return True\ndef f(x): return [A()]", ["assert f(1) == [2]"]
    ),
    "ends the loop of a test": Hostile("def f(x): raise StopIteration", ["assert all(map(f, [1, 2]))", *ASKED]),
    "lost in a test's own except": Hostile(
        "import os\ndef f(x): os._exit(0)", ["try:\n  f(1)\nexcept Exception:\n  pass\nassert True"]
    ),
    "a built-in of its own": Hostile(
        "import builtins\nsorted = builtins.sorted = lambda x: 1\ndef f(x): return []",
        ["assert sorted(f(1)) == sorted([1])"],
    ),
    "a module of its own": Hostile(
        "class math:\n  fabs = staticmethod(lambda x: 0)\ndef f(x): return 9.0", ["assert math.fabs(f(1) - 2) < 1e-6"]
    ),
    "no call of it": Hostile("def f(x): return 2", ["assert 1 == 1"]),
    "a pickle": Hostile(
        "import os\nclass A:\n  def __reduce__(self): return (os._exit, (0,))\ndef f(x): return A()",
        ["assert f(1) == 2"],
    ),
    "frames": Hostile(
        "import gc, sys\ndef f(x):\n  frame = sys._getframe()\n"
        "  while frame:\n    frame.f_locals.update(token=2, passed=True, tests=[])\n    frame = frame.f_back\n"
        "  tokens = [each['token'] for each in gc.get_objects() if isinstance(each, dict) and 'token' in each]\n"
        "  return 2 if len(tokens) > 1 else 0"
    ),
    "what it was given": Hostile("import sys\ndef f(x): return eval(sys.stdin.read() or '0')"),
    "speaks for the verifier": Hostile(
        "import os\nfor file in range(3, 64):\n"
        '  for line in (\'ready\', \'["value", 2]\', \'{"token": "", "why": ""}\'):\n'
        "    try: os.write(file, line.encode() + b'\\n')\n    except OSError: pass\ndef f(x): return 0"
    ),
    "no value": Hostile(
        "import os\ndef f(x):\n  for file in range(3, 64):\n"
        '    try: os.write(file, b\'["value", ["set", [["list", []]]]]\\n\')\n'
        "    except OSError: pass\n  return 0"
    ),
    "closes descriptors": Hostile("import os\nos.closerange(0, 64)\ndef f(x): return x + 1"),
    "another stdout": Hostile("import sys, io\nsys.stdout = sys.stderr = io.StringIO()\ndef f(x): return 0"),
    "deep recursion": Hostile("def f(x): return f(x)"),
    "recursion beyond the stack": Hostile(
        "import sys\nsys.setrecursionlimit(10**9)\n"
        "class A:\n  def __repr__(self): return repr(self)\ndef f(x): return repr(A())"
    ),
    "a value without end": Hostile("def f(x):\n  a = []\n  a.append(a)\n  return a"),
    "a value too large": Hostile("def f(x): return 'x' * 10**6"),
    "a walk without end": Hostile("import itertools\ndef f(x): return itertools.count()", ["assert list(f(1)) == [2]"]),
    "too deep to parse": Hostile("def f(x): return " + "(" * 5000 + "1" + ")" * 5000),
    "a NUL": Hostile("def f(x): return x + 1\0"),
    "a lone surrogate": Hostile("def f(x): return x + 1 # \ud800"),
    "no Python": Hostile("Here is the function you asked for."),
    "tests that do not parse": Hostile("def f(x): return x + 1", ["assert f(1 == 2"]),
    "a test that exits": Hostile("def f(x): return x + 1", ["raise SystemExit(0)"]),
}
"""Ways to pass without solving the task."""

GREED = {
    "endless loop": Hostile("def f(x):\n  while True: pass"),
    "endless sleep": Hostile("import time\ntime.sleep(1000)"),
    "ignores signals": Hostile(
        "import signal\nfor each in range(1, 65):\n  try: signal.signal(each, signal.SIG_IGN)\n"
        "  except (OSError, ValueError): pass\nwhile True: pass"
    ),
    "endless output": Hostile("while True: print('x' * 10000)"),
    "endless errors": Hostile("import os\nwhile True: os.write(2, b'x' * 10000)"),
    "huge allocation": Hostile("def f(x): return [0] * 10**10"),
    "huge allocation, bit by bit": Hostile("a = []\nwhile True: a.append(bytearray(10**6))"),
    "raises its limits": Hostile(
        "import resource\nfor each in (resource.RLIMIT_AS, resource.RLIMIT_CPU):\n"
        "  resource.setrlimit(each, (-1, -1))\ndef f(x): return x + 1"
    ),
    "a huge file": Hostile("file = open('big', 'wb')\nwhile True: file.write(bytes(10**6))"),
}
"""Ways to use more than is given."""

HARM = {
    "many huge files": Hostile(
        "for number in range(10**6):\n  with open(str(number), 'wb') as file: file.write(bytes(2**20))",
        needs_walls=True,
    ),
    "fork bomb": Hostile(
        "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", processes=40, needs_walls=True
    ),
    "fork bomb without leave": Hostile("import os\nwhile True: os.fork()"),
    "thread bomb": Hostile(
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(100,)).start()"
    ),
    "daemons that outlive it": Hostile(
        "import os, time\nfor each in range(3):\n  if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "      os.closerange(0, 64)\n      time.sleep(1000)\n    os._exit(0)\ndef f(x): return 0",
        processes=40,
        needs_walls=True,
    ),
    "kills its parent": Hostile(
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\ndef f(x): return 0", needs_walls=True
    ),
    "kills everybody": Hostile(
        "import os, signal\nfor each in [-1, *range(1, 40000)]:\n  if each != os.getpid():\n"
        "    try: os.kill(each, signal.SIGKILL)\n    except OSError: pass\ndef f(x): return 0",
        needs_walls=True,
    ),
}
"""Ways to harm who else is on the machine."""
