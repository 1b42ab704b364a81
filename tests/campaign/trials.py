"""What a case of the campaign tells: what was done, and what was found where something else had to be true."""

import re
from dataclasses import dataclass, field

PROGRESS = re.compile(r"^\d\d:\d\d:\d\d ")
"""Lines with a time of day tell how far a command is; all else on stderr is an error or a stray line."""
MASKED = re.compile(r"[0-9a-f]{6,}|\d+(\.\d+)?(e[+-]?\d+)?")
LONGEST_CHARACTERS = 700


@dataclass(frozen=True)
class Finding:
    """Something that had to be true and was not."""

    expected: str
    came: str

    @property
    def signature(self) -> str:
        """The same for findings that differ in numbers and fingerprints alone."""
        return f"{self.expected} | {MASKED.sub('#', self.came)}"


@dataclass
class Trial:
    """One case: what was done, step by step, and what was found."""

    steps: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def expect(self, holds: bool, expected: str, came: str) -> None:
        """Note a finding unless `holds`."""
        if not holds:
            self.findings.append(Finding(expected, came[:LONGEST_CHARACTERS]))


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    words: tuple[str, ...]
    code: int | None
    """Exit code, a signal as its negative number; None: it ran into the limit and was killed."""
    out: str
    err: str
    left: int = 0
    """Processes of its own that lived on after it."""

    @property
    def told(self) -> list[str]:
        """Lines of stderr that are not progress."""
        return [line for line in self.err.splitlines() if line.strip() and not PROGRESS.match(line)]

    def breach(self, codes: tuple[int, ...] = (0, 2)) -> Finding | None:
        """How it broke the rules for every command: exit 0 without a stray line, or 2 with exactly one `srd: …`."""
        last = f"exit {self.code}: {' / '.join(self.told[-3:])}"[:LONGEST_CHARACTERS]
        if self.code is None:
            return Finding("an end within the limit", last)
        if any(line.startswith("Traceback") for line in self.told):
            return Finding(
                "no traceback", f"exit {self.code}: {self.innermost()} / {self.told[-1]}"[:LONGEST_CHARACTERS]
            )
        if self.code not in codes:
            return Finding(f"exit code {' or '.join(map(str, codes))}", last)
        if self.code == 2 and not (len(self.told) == 1 and self.told[0].startswith("srd: ")):
            return Finding("exactly one line `srd: …`", f"{len(self.told)} lines: {last}")
        if self.code == 0 and self.told:
            return Finding("no stray line on stderr", last)
        return None

    def innermost(self) -> str:
        """The last line of `srd` in a traceback, as file:function."""
        frames = re.findall(r'File ".*?(srd/[\w/]+\.py)", line \d+, in (\S+)', self.err)
        return ":".join(frames[-1]) if frames else "outside srd"
