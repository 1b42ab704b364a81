"""`srd report [STUDY]`, and `srd table NAME [overrides]`: every arm of a table as one sweep, then its report."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from srd.commands.compose import run_hydra
from srd.commands.run import run
from srd.commands.schema import options
from srd.commands.terminal import one_word, outputs_of, print_table
from srd.errors import UserError, look_up
from srd.store.artefacts import typed


def report(words: list[str]) -> None:
    """`srd report [STUDY]`."""
    from srd.report.tables import comparisons, summary_table
    from srd.report.write import write_report

    outputs, rest = outputs_of(words)
    rows, paths = write_report(outputs, one_word(rest, "report", "study", default="default"))
    print_table(*summary_table(rows))
    for line in comparisons(rows):
        print(line)
    for path in paths.values():
        print(path)


@dataclass
class Table:
    """What `conf/table/NAME.yaml` says."""

    arms: list[str]
    """Experiments, one an arm (or one a method and arm)."""
    study: str
    """The study that the arms are filed under, and whose report is the table."""
    ablations_of: str | None = None
    """An experiment that every ablation is put on top of, one more arm each."""
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    """Values of other keys, each with every arm."""

    def overrides(self) -> list[str]:
        """The words of the sweep, as Hydra reads them: the arms vary fastest, so that whoever stops early has all arms
        of what is done."""
        ablations = [name for name in options("experiment") if name.startswith("ablation/")]
        on_top = [f"[{self.ablations_of},{name}]" for name in ablations if self.ablations_of is not None]
        swept = [f"{key}={','.join(map(str, values))}" for key, values in self.sweep.items()]
        return [*swept, f"experiment={','.join([*self.arms, *on_top])}", f"study={self.study}"]


def table(words: list[str]) -> None:
    """Run or resume all arms, and print the report; further words are overrides of every arm."""
    words = [word for word in words if word not in ("-m", "--multirun")]  # a table is a sweep already
    names = [word for word in words if "=" not in word and not word.startswith("-")]
    overrides = [word for word in words if word not in names]
    if len(names) != 1:
        raise UserError(f"srd table: expected one table, got {len(names)}; choices: {', '.join(tables())}")
    outputs, _ = outputs_of(overrides)
    chosen = read_table(names[0])
    run_hydra("run", ["-m", *chosen.overrides(), *overrides], run)
    studies = [word.removeprefix("study=") for word in overrides if word.startswith("study=")]
    report([(studies or [chosen.study])[-1], f"outputs={outputs}"])


def read_table(name: str) -> Table:
    """A table by name; an unknown one is a `UserError`."""
    written = OmegaConf.to_container(OmegaConf.load(look_up(tables(), name, "table")))
    assert isinstance(written, dict)
    return typed(Table, {str(key): value for key, value in written.items()})


def tables() -> dict[str, Path]:
    """Every table by name."""
    return options("table")
