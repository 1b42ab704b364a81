"""How long a piece of work has taken, and its parts, in this process and in those that were killed before it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REST = "the work itself"
"""The part of what is in no other."""


class Clock:
    """Runs from when it is made. Its readings are the same in every process of this machine."""

    def __init__(self) -> None:
        # The system's monotonic time: that of the day may be set back.
        self._begin = time.monotonic()
        self._carried = 0.0
        self._parts: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Seconds of the work so far, without what a kill threw away."""
        return self._carried + time.monotonic() - self._begin

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as the part `name`; a part within it counts as that alone."""
        begin, before = time.monotonic(), sum(self._parts.values())
        try:
            yield
        finally:
            within = sum(self._parts.values()) - before
            self._parts[name] = self._parts.get(name, 0.0) + time.monotonic() - begin - within

    def reading(self) -> dict[str, Any]:
        """`seconds` of the work so far and `seconds_by_part`, which adds up to them."""
        seconds = self.seconds
        return {"seconds": seconds, "seconds_by_part": {**self._parts, REST: seconds - sum(self._parts.values())}}

    def carry(self, reading: dict[str, Any]) -> None:
        """Count in what stands of the work of a killed process: its reading when it last saved."""
        self._carried = reading["seconds"]
        for name, seconds in reading["seconds_by_part"].items():
            if name != REST:
                self._parts[name] = self._parts.get(name, 0.0) + seconds
