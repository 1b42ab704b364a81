"""Fuzz of the command line: random keys, values, options and flags; every answer is a result or one line."""

from pathlib import Path
from random import Random

from srd.commands.compose import groups, keys, options
from srd.config import Config
from tests.campaign import odd
from tests.campaign.commands import srd
from tests.campaign.lab import Lab
from tests.campaign.trials import Trial
from tests.campaign.variants import VARIANTS, overrides

LIMIT_SECONDS = 60
REAL_SHARE, RUN_SHARE = 0.03, 0.1
NOT_RUN = ("engine.processes", "engine.threads", "plan.", "outputs", "dataset.hub", "hub", "wandb", "trust_remote_code")
"""Not for a real run: as many processes as the number says, or a look outside this folder."""


def case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """One line of odd words: composed, planned, or (a share) run."""
    variant = rng.choice([name for name in VARIANTS if name != "two processes"])
    line = [word for word in overrides(variant, lab.folder) if word != "-m"]
    more = [_override(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    runs = rng.random() < RUN_SHARE and not any(part in word for word in more for part in NOT_RUN)
    words = ["run" if runs else rng.choice(["run", "plan", "plan", "reflect", "evaluate"]), *line, *more]
    if words[0] != "plan" and not runs:
        words += ["--cfg", "job"]
    elif variant == "several arms":
        words.insert(1, "-m")
    if rng.random() < 0.15 and not runs:
        words = [words[0], *odd.flags(rng, words[1:])]
        if "--cfg" not in words:
            words[0] = "plan"
    return _said(words, folder, real=rng.random() < REAL_SHARE, ends=not runs)


def words_case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """A command that takes words of its own, with odd ones."""
    command = rng.choice(["report", "show", "ls", "table", "nosuch", "run"])
    pool = [odd.value(rng), "--help", "-h", "study=x", "outputs=x", "artefacts", "samples/", "rank/", "experiment"]
    words = [command, *rng.sample(pool, rng.randint(0, 2))]
    if command in ("table", "run"):
        words += ["--cfg", "job"]
    return _said(words, folder, real=rng.random() < REAL_SHARE)


def _override(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.7:
        return f"{rng.choice(keys(Config))}={odd.value(rng)}"
    group = rng.choice(groups())
    if kind < 0.85:
        return f"{group}={rng.choice([*options(group), odd.value(rng), 'nosuch'])}"
    key = rng.choice(keys(Config))
    typo = key[:-1] if rng.random() < 0.5 else key.replace(".", "_")
    return rng.choice(
        [f"+{key}=1", f"~{key}", f"~{group}", f"+{group}=x", f"{typo}=1", key, f"++{key}={odd.value(rng)}"]
    )


def _said(words: list[str], folder: Path, real: bool, ends: bool = True) -> Trial:
    """The command, run; `ends`: whether it has to end within the limit, however large a number it was given."""
    trial = Trial([f"srd {' '.join(map(repr, words))}{' (as a process of its own)' if real else ''}"])
    below = folder / "here" / "below"  # so that a path that leads up ends in this case's folder
    below.mkdir(parents=True)
    ran = srd(*words, cwd=below, real=real, limit_seconds=LIMIT_SECONDS)
    if (breach := ran.breach()) and (ends or ran.code is not None):
        trial.findings.append(breach)
    return trial
