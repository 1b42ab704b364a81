"""What runs inside the two sandboxes of a verification: the program, which never sees its tests, and the verifier,
which never runs the program's code. This file is their whole source and uses the standard library alone.

The program's process executes the generated code and then does what the verifier asks by lines of JSON: look a name up,
call it, read or set an attribute, walk through it. The verifier executes the tests, in which the program's functions
are `Remote`. Values cross as plain data of exact built-in types, so `==` in a test is that of this interpreter,
whatever the program made of its own; anything else stays with the program as a handle, which equals nothing but itself.

So a program passes by the values that it returns, or not at all: `sys.exit`, `os._exit`, printing, another `assert` or
`__eq__`, frames, `gc`, `atexit` and descriptors reach its own process alone, and the token that proves a pass is known
to the verifier and to its parent. What remains possible: to return what the tests ask for by other means than solving
the task, for instance from examples that the prompt shows; and an object of its own is true where a test asks for no
more than truth, and unequal where a test asks for no more than that. What a program does to its arguments is not seen.
"""

import ast
import builtins
import json
import os
import random
import resource
import sys
import types
from collections.abc import Callable
from typing import Any, TextIO

SEQUENCES: dict[str, type] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
CLASSES = {kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)}
SMALL = 2**63
RAISES = ("ArithmeticError", "AssertionError", "AttributeError", "EOFError", "ImportError", "IndexError", "KeyError")
RAISES += ("LookupError", "MemoryError", "NameError", "NotImplementedError", "OSError", "OverflowError")
RAISES += ("RecursionError", "TypeError", "ValueError", "ZeroDivisionError")
"""What a test sees as it was raised; the others are a `RuntimeError`. `StopIteration` must be, for it would end the
loop of a test without a word."""


class LostError(BaseException):
    """The program is gone or speaks no more sense; no `except Exception` of a test may hide it."""


def encode(value: Any, keep: Callable[[Any], int]) -> Any:
    """A value as JSON: plain data, by its base where its class is derived; or the number that `keep` gives it."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if issubclass(kind, int):
        whole = int.__index__(value)
        return whole if -SMALL < whole < SMALL else ["int", hex(whole)]
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, str):
        return str.__str__(value)
    for name, base in SEQUENCES.items():
        if issubclass(kind, base):
            return [name, [encode(each, keep) for each in base.__iter__(value)]]
    if issubclass(kind, dict):
        return ["dict", [[encode(key, keep), encode(each, keep)] for key, each in dict.items(value)]]
    if kind is complex:
        return ["complex", [value.real, value.imag]]
    if kind is type and CLASSES.get(value.__name__) is value:
        return ["class", value.__name__]
    if kind in (bytes, bytearray):
        return [kind.__name__, value.hex()]
    if kind is range:
        return ["range", [encode(each, keep) for each in (value.start, value.stop, value.step)]]
    return ["handle", keep(value)]


def decode(data: Any, given: Callable[[int], Any]) -> Any:
    """The value that `encode` made JSON of; `given` says what a number stands for. Anything else is a `ValueError`."""
    if data is None or type(data) in (bool, int, float, str):
        return data
    if type(data) is not list or len(data) != 2:
        raise ValueError("no value")
    name, body = data
    if name in SEQUENCES:
        return SEQUENCES[name](decode(each, given) for each in body)
    if name == "dict":
        return {decode(key, given): decode(each, given) for key, each in body}
    if name == "handle" and type(body) is int:
        return given(body)
    simple: dict[str, Callable[[], Any]] = {
        "int": lambda: int(body, 16),
        "class": lambda: CLASSES[body],
        "complex": lambda: complex(*body),
        "bytes": lambda: bytes.fromhex(body),
        "bytearray": lambda: bytearray.fromhex(body),
        "range": lambda: range(*(decode(each, given) for each in body)),
    }
    if name not in simple:
        raise ValueError("no value")
    return simple[name]()


class Remote:
    """Something of the program that is no plain data: a function, a class, an object."""

    __slots__ = ("_ask", "_number")

    def __init__(self, ask: Callable[..., Any], number: int) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._ask("call", self, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", self, name, value)

    def __iter__(self) -> Any:
        return iter(self._ask("walk", self))

    def __eq__(self, other: object) -> bool:
        return type(other) is Remote and self._number == other._number

    def __hash__(self) -> int:
        return hash(self._number)


class Program:
    """The program as the verifier knows it."""

    def __init__(self, requests: TextIO, replies: TextIO, longest: int) -> None:
        self.requests, self.replies, self.longest = requests, replies, longest
        self.calls, self.is_lost = 0, False

    def ask(self, verb: str, *request: Any) -> Any:
        """What the program makes of a request: the value, or its exception raised here."""
        self.calls += verb == "call"
        line = json.dumps([verb, *(encode(each, self._number) for each in request)])
        try:
            self.requests.write(line + "\n")
            self.requests.flush()
        except OSError:
            raise self._lost("the program ended") from None
        return self.reply()

    def reply(self) -> Any:
        """The program's next line."""
        try:
            line = self.replies.readline(self.longest)
            if len(line) == self.longest:
                raise self._lost("a value beyond evaluate.code.output_kb")
            if not line.endswith("\n"):
                raise self._lost("the program ended")
            status, *more = json.loads(line)
            if status == "value":
                return decode(more[0], lambda number: Remote(self.ask, number))
            if status != "raised":
                raise ValueError("no reply")
            kind, message = (str(each) for each in more)
        except (ValueError, TypeError, LookupError, RecursionError, ArithmeticError):
            raise self._lost("what the program replied is no value") from None
        raise (getattr(builtins, kind) if kind in RAISES else RuntimeError)(message or kind)

    def _number(self, value: Any) -> int:
        if type(value) is not Remote:
            raise TypeError(f"a test cannot hand {type(value).__name__} to the program")
        return value._number

    def _lost(self, why: str) -> LostError:
        self.is_lost = True
        return LostError(why)


def be_program(requests: TextIO, replies: TextIO, given: dict[str, Any]) -> None:
    """Execute the generated code, then do what is asked until nobody asks."""
    module, kept = types.ModuleType("program"), []
    sys.modules["program"] = module

    def number(value: Any) -> int:
        kept.append(value)
        return len(kept) - 1

    def load() -> None:
        exec(compile(given["program"], "program", "exec"), module.__dict__)

    def look_up(name: str) -> Any:
        if name not in module.__dict__:
            raise NameError(f"name '{name}' is not defined")
        return module.__dict__[name]

    verbs: dict[str, Callable[..., Any]] = {
        "load": load,
        "name": look_up,
        "call": lambda function, arguments, named: function(*arguments, **named),
        "get": getattr,
        "set": setattr,
        "walk": list,
    }

    def say(work: Callable[[], Any]) -> None:
        try:
            line = json.dumps(["value", encode(work(), number)])
        except BaseException as error:  # whatever the code raises is the code's answer, SystemExit too
            line = json.dumps(["raised", type(error).__name__, str(error)[:200]])
        replies.write(line + "\n")
        replies.flush()

    say(lambda: None)  # ready
    for line in requests:
        verb, *request = json.loads(line)
        say(lambda verb=verb, request=request: verbs[verb](*(decode(each, kept.__getitem__) for each in request)))


def be_verifier(requests: TextIO, replies: TextIO, given: dict[str, Any], verdict: TextIO) -> None:
    """Execute the tests and say whether they held, with the token where they did."""
    token, program, why = given.pop("token"), Program(requests, replies, given["longest"]), "loading"
    passed = False
    program.reply()
    verdict.write("ready\n")
    verdict.flush()
    try:
        program.ask("load")
        names: dict[str, Any] = {"__name__": "tests"}
        if given["prelude"]:
            exec(compile(given["prelude"], "prelude", "exec"), names)
        sources = [given["setup"], *given["tests"]]
        why = "setup"
        _bind(names, [ast.parse(source) for source in sources], given["names"], program)
        for number, source in enumerate(sources):
            why = f"test {number} of {len(sources) - 1}" if number else "setup"
            exec(compile(source, why, "exec"), names)
        passed, why = program.calls > 0 and not program.is_lost, "the tests called nothing of the program"
    except BaseException as error:  # what a test raises, SystemExit too, is that it has not held
        why = f"{why}: {type(error).__name__}: {error}"[:300]
    verdict.write(json.dumps({"token": token if passed else None, "why": "passed" if passed else why}))
    verdict.flush()


def _bind(names: dict[str, Any], trees: list[ast.Module], asked: list[str], program: Program) -> None:
    """Give the tests the names that they do not define: those that are `asked` of the program, modules of the standard
    library where nothing but attributes of one is used, and what else the program has and Python has not."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = [node for node in nodes if isinstance(node, ast.Name)]
    owners = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    own = {node.id for node in used if not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {str(node.name) for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler)}
    imported = (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    own |= {(alias.asname or alias.name).split(".")[0] for node in imported for alias in node.names}
    own |= names.keys() | vars(builtins).keys()
    for name in sorted({node.id for node in used} - own | set(asked)):
        is_module = name in sys.stdlib_module_names and all(id(node) in owners for node in used if node.id == name)
        names[name] = __import__(name) if is_module and name not in asked else program.ask("name", name)


def main(role: str, requests: int, replies: int) -> None:
    """Read what is given from standard input, take the limits on, and play the role."""
    given = json.loads(sys.stdin.buffer.read())
    os.environ.clear()
    os.chdir(given.pop("folder"))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    random.seed(0)
    for name, value in given.pop("limits").items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if role == "program":
        be_program(os.fdopen(requests, "r"), os.fdopen(replies, "w"), given)
    else:
        verdict = os.fdopen(os.dup(1), "w")
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        be_verifier(os.fdopen(requests, "w"), os.fdopen(replies, "r"), given, verdict)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
