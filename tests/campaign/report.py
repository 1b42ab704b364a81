"""What a campaign has to show: counts by kind, and every distinct finding with the command that repeats it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign.trials import Trial


@dataclass
class Found:
    """A distinct finding: the first case that met it, and how many did."""

    kind: str
    case: str
    reproduce: str
    seed: int
    steps: list[str]
    expected: str
    came: str
    cases: int = 1


@dataclass
class Report:
    """The campaign so far."""

    seed: int
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    minutes: float = 0.0

    def add(self, kind: str, case: str, trial: Trial) -> None:
        """Count one case."""
        counts = self.counts.setdefault(kind, {"tried": 0, "held": 0, "found": 0})
        counts["tried"] += 1
        counts["found" if trial.findings else "held"] += 1
        for finding in trial.findings:
            key = f"{kind}: {finding.signature}"
            if key in self.found:
                self.found[key].cases += 1
                continue
            reproduce = f"python -m tests.campaign --case {kind}/{case}"
            self.found[key] = Found(kind, case, reproduce, self.seed, trial.steps, finding.expected, finding.came)

    def text(self) -> str:
        """The report as a person reads it."""
        lines = [f"campaign, seed {self.seed}, {self.minutes:.1f} minutes", ""]
        lines += [f"{'kind':<10} {'tried':>6} {'held':>6} {'found':>6}"]
        lines += [f"{kind:<10} " + " ".join(f"{n:>6}" for n in each.values()) for kind, each in self.counts.items()]
        for number, each in enumerate(sorted(self.found.values(), key=lambda f: (f.kind, -f.cases)), start=1):
            lines += ["", f"{number}. {each.kind}, {each.cases} case(s): {each.reproduce}"]
            lines += [f"   {step}" for step in each.steps]
            lines += [f"   expected  {each.expected}", f"   came      {each.came}"]
        return "\n".join([*lines, "", f"{len(self.found)} distinct findings", ""])

    def write(self, folder: Path) -> None:
        """Leave report.txt and report.json in `folder`."""
        record: dict[str, Any] = {"seed": self.seed, "minutes": self.minutes, "counts": self.counts}
        record["findings"] = [asdict(each) for each in self.found.values()]
        (folder / "report.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "report.txt").write_text(self.text(), encoding="utf-8")
