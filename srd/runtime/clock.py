"""How long a piece of work has taken, in this process and in those that were killed before it."""

import time


class Clock:
    """Runs from when it is made. Its readings are the same in every process of this machine."""

    def __init__(self) -> None:
        # The system's monotonic time: that of the day may be set back.
        self._begin = time.monotonic()
        self._carried = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of the work so far, without what a kill threw away."""
        return self._carried + time.monotonic() - self._begin

    def carry(self, seconds: float) -> None:
        """Count in what stands of the work of a killed process: its reading when it last saved."""
        self._carried = seconds
