"""`srd report [STUDY]`, and `srd table NAME [overrides]`: every arm of a table as one sweep, then its report."""

import webbrowser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from srd.commands.compose import run_hydra
from srd.commands.run import run
from srd.commands.schema import options
from srd.commands.terminal import one_word, outputs_of, print_table
from srd.errors import UserError, look_up
from srd.runtime.progress import say
from srd.store.artefacts import typed

OPEN = "--open"


def report(words: list[str]) -> None:
    """`srd report [STUDY] [--open]`."""
    from srd.report.tables import summary_table
    from srd.report.verdict import verdict
    from srd.report.write import write_report

    outputs, rest = outputs_of(words, flags=(OPEN,))
    study = one_word([word for word in rest if word != OPEN], "report", "study", default="default")
    rows, paths = write_report(outputs, study)
    print_table(*summary_table(rows))
    for line in verdict(rows):
        print(line)
    beside = ", ".join(path.name for kind, path in paths.items() if kind != "html")
    print(f"{paths['html']} (beside it {beside})")
    if OPEN in rest:
        show_page(paths["html"])


def show_page(path: Path) -> None:
    """Open a page in the user's browser; where there is none, say where the page is."""
    if not webbrowser.open(path.resolve().as_uri()):
        say(f"no browser here; open {path.resolve()} in one")


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
