"""How generated code is run: by the interpreter that srd's environment is made of, with its standard library alone."""

from dataclasses import dataclass

from srd.errors import look_up, require, require_whole

ISOLATIONS = ("auto", "none")


@dataclass
class Code:
    """Where generated code runs and what each of its runs may use; beyond a limit an answer has not passed."""

    isolation: str = "auto"
    """auto: bwrap where it works, else unshare, else the run is refused. none: limits alone, the code sees the files,
    the network and the processes of this user; for a machine that may be lost."""
    seconds: float = 30.0
    """Wall-clock time, from when both interpreters are ready."""
    cpu_seconds: int = 10
    """Time of the processor, for the code and for its tests each."""
    memory_mb: int = 512
    """Address space of a process, MiB."""
    processes: int = 0
    """Processes and threads that the code may start. Counted by user: more than 0 depends on what else runs."""
    disk_mb: int = 16
    """All that it writes into its temporary folder (of isolation `none`: each file), MiB."""
    output_kb: int = 1024
    """What it prints, and one value that it returns, KiB."""

    def check(self, key: str) -> None:
        look_up(dict.fromkeys(ISOLATIONS), self.isolation, f"{key}.isolation")
        require(0 < self.seconds <= 3600, f"{key}.seconds", self.seconds, "more than 0, at most 3600")
        require_whole(f"{key}.cpu_seconds", self.cpu_seconds, 1, 3600)
        require_whole(f"{key}.memory_mb", self.memory_mb, 64, 1 << 20)
        require_whole(f"{key}.processes", self.processes, 0, 1 << 10)
        require_whole(f"{key}.disk_mb", self.disk_mb, 1, 1 << 16)
        require_whole(f"{key}.output_kb", self.output_kb, 1, 1 << 16)
        expected = "0 with isolation=none, which cannot end what a process leaves behind"
        require(self.isolation != "none" or self.processes == 0, f"{key}.processes", self.processes, expected)
