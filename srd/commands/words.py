"""The words of a command line as Hydra wants them: flags in front, values quoted, and a line of our own for every word
that it would answer with its own.
"""

import os
import re
import shlex
import sys
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from srd.commands.schema import APART, accepts_null, bare, expected, groups, is_list, kinds, nearest_key, options
from srd.errors import UserError, nearest

CFG_PARTS = ("job", "hydra", "all")
"""What `--cfg` shows."""
PLACES = ("path", "adapter", "gguf_file", "outputs", "include_path", "program")
"""Last parts of the keys of files and folders; the names of the two models may be folders too."""
FREE = ("arm", "project", "instruction", "input", "output")
"""Last parts of the keys of other text that may hold any character."""
LISTED_GROUPS = ("experiment", "evaluate", "debug")
"""Groups of which several options go together."""
OPTIONAL_GROUPS = ("experiment", "debug", "recipe")
ENTRIES = r"(evaluate\.suites|method\.parameters|model\.(teacher|student)\.architecture)\."
"""Beginnings of keys that anybody may add."""
WORD = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^=]*)(?:=(?P<value>.*))?", re.DOTALL)


@dataclass
class Words:
    """A command line, sorted."""

    flags: list[str] = field(default_factory=list)
    """Hydra's, in front of everything."""
    overrides: list[str] = field(default_factory=list)
    """The rest, as Hydra reads it."""
    typed: dict[str, str] = field(default_factory=dict)
    """What the user wrote, by the key that it sets."""

    @property
    def is_sweep(self) -> bool:
        return "-m" in self.flags


def read_words(command: str, words: list[str]) -> Words:
    """The words of `srd COMMAND`, mended where their meaning is plain; else a `UserError` with what to write."""
    read = Words()
    waiting = list(words)
    rest: list[str] = []
    while waiting:
        word = waiting.pop(0)
        if word in ("-m", "--multirun"):
            read.flags.append("-m")
        elif word == "--resolve":
            read.flags.append(word)
        elif word in ("--cfg", "-c") or word.startswith("--cfg="):
            shown = word.partition("=")[2] or (waiting.pop(0) if waiting else "")
            if shown not in CFG_PARTS:
                raise UserError(f"--cfg {shown}: expected job; write: srd {command} --cfg job")
            read.flags += ["--cfg", shown]
        elif word.startswith("-"):
            raise UserError(_no_flag(command, word, waiting))
        else:
            rest.append(word)
    parser = OverridesParser.create()
    elsewhere = any(word.startswith("hydra.searchpath=") for word in rest)
    for word in rest:
        mended = _Mending(command, word, read.is_sweep, elsewhere, parser).override()
        if mended is not None:
            read.overrides.append(mended)
        read.typed[_parts(word)[1]] = word
    return read


def _parts(word: str) -> tuple[str, str, str | None]:
    """Sign, key and value of an override; no value where there is no equals sign."""
    match = WORD.fullmatch(word)
    assert match is not None, "every text matches"
    return match["sign"] or "", match["key"].strip(), match["value"]


def _no_flag(command: str, flag: str, following: list[str]) -> str:
    """What to write in place of a flag that there is not: often the setting of that name."""
    name, _, value = flag.lstrip("-").partition("=")
    name = name.replace("-", "_")
    if not value and following and not re.match(r"-|.*=", following[0]):
        value = following[0]
    known = [name] if name in kinds() or name in groups() else []
    known += sorted((key for key in kinds() if key.endswith(f".{name}")), key=lambda key: not key.startswith("distill"))
    if known and value:
        written = shlex.join(["srd", command, f"{known[0]}={value}"])
        return f"{flag}: settings have no dashes; write: {written}"
    return (
        f"unknown flag '{flag}'; there are -m (a sweep), --cfg job (show the config) and --help; settings are key=value"
    )


def quoted(value: str) -> str:
    """The value as one text for Hydra, whatever characters it has."""
    body = re.sub(r"(\\*)'", r"\1\1\\'", value)
    body = re.sub(r"(\\+)$", r"\1\1", body)
    return f"'{body}'"


@dataclass
class _Mending:
    """One override on its way to Hydra."""

    command: str
    word: str
    is_sweep: bool
    searches_elsewhere: bool
    """Whether options may lie in other folders than ours."""
    parser: OverridesParser

    def override(self) -> str | None:
        """The override for Hydra, or none where it says what is so anyway."""
        sign, key, value = _parts(self.word)
        if key in groups():
            return self._group(sign, key, value)
        if key not in kinds() and not key.isascii():
            raise UserError(f"unknown key '{key}'; {nearest_key(key)}")
        if not key or (value is None and sign != "~"):
            hint = f"give it a value: {key}=…" if key in kinds() or key in groups() else "expected key=value"
            raise UserError(f"cannot read the override '{self.word}'; {hint}")
        if key not in kinds():
            return self._foreign(sign, key, value)
        if value is None or sign == "~":
            raise UserError(f"{self.word}: a setting cannot be taken away; give it another value: {key}=…")
        # A key that is there is set by any sign: Hydra's `+` is for keys that are not.
        return f"{'++' if sign else ''}{key}={self._value(key, value)}"

    def _group(self, sign: str, group: str, value: str | None) -> str | None:
        if value is None or sign == "~":
            raise UserError(f"{self.word}: expected an option, as in {group}=NAME; {nearest('', options(group))}")
        if value == "null" and group in OPTIONAL_GROUPS:
            return "~recipe" if group == "recipe" else None
        parsed = self._parsed(f"{group}={value}")
        chosen = parsed._value if parsed is not None else value
        if isinstance(chosen, ChoiceSweep) and not self.is_sweep:
            raise UserError(self._needs_sweep())
        if isinstance(chosen, list) and group not in LISTED_GROUPS:
            written = shlex.join(["srd", self.command, "-m", f"{group}={','.join(map(str, chosen))}"])
            raise UserError(f"{self.word}: expected one option; each in turn is a sweep: {written}")
        for choice in chosen.list if isinstance(chosen, ChoiceSweep) else [chosen]:
            for name in choice if isinstance(choice, list) else [choice]:
                shown = value if name is chosen else str(name)
                if group != "recipe" and group not in APART and "${" not in shown and "*" not in shown:
                    self._check_option(group, name, shown)
        return f"{'' if group not in APART else sign}{group}={value}"

    def _check_option(self, group: str, name: object, shown: str) -> None:
        known = options(group)
        if not isinstance(name, str) or (name not in known and not self.searches_elsewhere):
            raise UserError(f"unknown option '{group}={shown}'; {nearest(shown, known)}")

    def _foreign(self, sign: str, key: str, value: str | None) -> str:
        """A key that is no field: an entry of a table, or a mistake that composing names."""
        parsed = self._parsed(self.word)
        if parsed is None and value is not None:
            if key.rpartition(".")[2] not in PLACES:
                raise UserError(self._unreadable(key, value))
            return f"{sign}{key}={quoted(os.path.expanduser(value))}"
        if parsed is not None and parsed.is_sweep_override() and not self.is_sweep:
            raise UserError(self._needs_sweep())
        if value is not None and not sign and re.match(ENTRIES, key):
            return f"++{self.word}"
        return self.word

    def _value(self, key: str, value: str) -> str:
        """The value of a field."""
        if bare(key) is str:
            return self._text(key, value)
        parsed = self._parsed(f"{key}={value}")
        if parsed is None:
            inner = value.strip()[1:-1]
            if is_list(key) and value.strip().startswith("[") and value.strip().endswith("]") and "[" not in inner:
                return f"[{','.join(map(self._plain, inner.split(',')))}]"
            raise UserError(self._unreadable(key, value))
        if is_list(key):
            self._check_list(key, value, parsed)
        elif isinstance(parsed._value, int) and abs(parsed._value) > sys.float_info.max:
            raise UserError(f"{key}={value[:20]}…: expected {expected(key)} of at most 64 bits")
        elif parsed.is_sweep_override() and not self.is_sweep:
            raise UserError(self._needs_sweep())
        return value

    def _check_list(self, key: str, value: str, parsed: Override) -> None:
        """A `UserError` for a value without the brackets of a list."""
        held = parsed._value
        choices = held.list if isinstance(held, ChoiceSweep) else [held]
        whole = all(isinstance(choice, list) or (choice is None and accepts_null(key)) for choice in choices)
        if not whole and "${" not in value:
            listed = f"{key}=[{value}]" if "[" not in value else f"{key}=[…]"
            raise UserError(
                f"{key}={value}: expected {expected(key)}; write: {shlex.join(['srd', self.command, listed])}"
            )
        if parsed.is_sweep_override() and not self.is_sweep:
            raise UserError(self._needs_sweep())

    def _text(self, key: str, value: str) -> str:
        """Text that means itself: quoted where Hydra would read more, or something else, into it."""
        last = key.rpartition(".")[2]
        is_place = last in PLACES or key in ("model.teacher.name", "model.student.name")
        parts = value.split(",") if self.is_sweep and self._is_sweep_of_words(key, value) else [value]
        if len(parts) == 1 and not self.is_sweep and not is_place and last not in FREE:
            parsed = self._parsed(f"{key}={value}")
            if parsed is not None and parsed.is_sweep_override():
                raise UserError(self._needs_sweep())
        return ",".join(self._plain(os.path.expanduser(part) if is_place else part) for part in parts)

    def _is_sweep_of_words(self, key: str, value: str) -> bool:
        """Whether the commas of a value part it: not those between quotes or brackets."""
        return "," in value and not re.search(r"""["'(\[{]""", value) and not os.path.exists(value)

    def _plain(self, value: str) -> str:
        """The value, quoted unless Hydra reads it as the same text, as null, as quoted, or as what it calls."""
        parsed = self._parsed(f"key={value}")
        if parsed is None or (parsed.is_sweep_override() and not self.is_sweep):
            return quoted(value.strip())
        if parsed.is_sweep_override() or parsed._value is None or isinstance(parsed._value, str):
            return value
        return value if type(parsed._value).__name__ == "QuotedString" else quoted(value.strip())

    def _parsed(self, word: str) -> Override | None:
        """What Hydra reads, or nothing where it cannot."""
        try:
            return self.parser.parse_override(word)
        except HydraException:
            return None

    def _needs_sweep(self) -> str:
        written = shlex.join(["srd", self.command, "-m", self.word])
        return f"{self.word}: several values are a sweep, which needs -m; write: {written}"

    def _unreadable(self, key: str, value: str) -> str:
        if key in kinds():
            return f"{key}={value}: expected {expected(key)}"
        written = shlex.join(["srd", self.command, f"{key}={quoted(value)}"])
        return f"cannot read the override '{self.word}'; quote its value: {written}"
