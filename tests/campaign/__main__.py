"""`make campaign`: kills, damage and odd input for an hour, all of it from one printed seed.

Leaves report.txt and report.json in outputs/campaign/; exit code 1 when something was found.
"""

import argparse
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from itertools import count, cycle
from pathlib import Path
from random import Random

from tests.campaign import damage, data, fuzz, kills, together
from tests.campaign.lab import Lab
from tests.campaign.report import Report
from tests.campaign.trials import Finding, Trial
from tests.conftest import ROOT

Case = Callable[[Random, Lab, Path], Trial]
KINDS: dict[str, Case] = {
    "kills": kills.case,
    "damage": damage.case,
    "fuzz": fuzz.case,
    "words": fuzz.words_case,
    "data": data.case,
    "together": together.case,
}
SHARES = {"kills": 3, "damage": 4, "fuzz": 12, "words": 1, "data": 4, "together": 1}
"""Cases of a kind in a round: quick ones often, so that each gets a like part of the time."""


def main() -> int:
    """Run the campaign, or the one case that is named; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="where all is drawn from; none: a new one, which is printed")
    parser.add_argument("--only", help="kinds with commas between them: " + ", ".join(KINDS))
    parser.add_argument("--case", help="one case, as KIND/SEED-NUMBER in a report")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "campaign")
    words = parser.parse_args()
    chosen = list(KINDS) if words.only is None else words.only.split(",")
    if unknown := sorted(set(chosen) - KINDS.keys()):
        parser.error(f"unknown kinds {', '.join(unknown)}; choices: {', '.join(KINDS)}")
    if words.case is not None:
        return _one(words.case, Lab(words.out / "one"))
    seed = secrets.randbelow(1 << 31) if words.seed is None else words.seed
    print(f"campaign: seed {seed}, {words.minutes:g} minutes, {', '.join(chosen)}", flush=True)
    report = campaign(chosen, seed, words.minutes, words.out)
    print(report.text())
    return 1 if report.found else 0


def campaign(kinds: list[str], seed: int, minutes: float, out: Path) -> Report:
    """Cases of all kinds in turn until the time is over; the report is written after each."""
    begin, report, lab = time.monotonic(), Report(seed), Lab(out / "lab")
    turns = cycle(turn(kinds))
    numbers = {kind: count() for kind in kinds}
    while report.minutes < minutes:
        kind = next(turns)
        name = f"{seed}-{next(numbers[kind])}"
        report.add(kind, name, tried(kind, name, lab))
        report.minutes = (time.monotonic() - begin) / 60
        report.write(out)
    return report


def turn(kinds: list[str]) -> list[str]:
    """One round: each kind as often as its share says, spread, so that a short campaign meets all of them."""
    places = [((number + 0.5) / SHARES[kind], kind) for kind in kinds for number in range(SHARES[kind])]
    return [kind for _, kind in sorted(places)]


def tried(kind: str, name: str, lab: Lab) -> Trial:
    """One case, all of it drawn from its name; the folder of one that held is removed."""
    folder = lab.case(f"{kind}/{name}")
    try:
        trial = KINDS[kind](Random(f"{kind}/{name}"), lab, folder)
    except RuntimeError as error:  # a sound run that fails
        trial = Trial(findings=[Finding("a sound run", str(error))])
    if not trial.findings:
        shutil.rmtree(folder)
    return trial


def _one(case: str, lab: Lab) -> int:
    kind, _, name = case.partition("/")
    trial = tried(kind, name, lab)
    print("\n".join(trial.steps))
    for finding in trial.findings:
        print(f"expected  {finding.expected}\ncame      {finding.came}")
    print(f"left in {lab.folder / case}" if trial.findings else "held")
    return 1 if trial.findings else 0


if __name__ == "__main__":
    sys.exit(main())
