"""Fuzz of the command line: random keys, values, options and flags; every answer is a result or one line."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from random import Random
from typing import Any, get_args, get_origin, get_type_hints

from srd.commands.schema import groups, keys, options
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
    return said(words, folder, real=rng.random() < REAL_SHARE, ends=not runs)


def words_case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """A command that takes words of its own, with odd ones."""
    command = rng.choice(["report", "show", "ls", "table", "nosuch", "run"])
    pool = [odd.value(rng), "--help", "-h", "study=x", "outputs=x", "artefacts", "samples/", "rank/", "experiment"]
    words = [command, *rng.sample(pool, rng.randint(0, 2))]
    if command in ("table", "run"):
        words += ["--cfg", "job"]
    return said(words, folder, real=rng.random() < REAL_SHARE)


def _override(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.1:
        return f"{rng.choice(floats(Config))}={rng.choice(odd.NOT_FINITE)}"
    if kind < 0.7:
        return f"{rng.choice(keys())}={odd.value(rng)}"
    group = rng.choice(groups())
    if kind < 0.85:
        return f"{group}={rng.choice([*options(group), odd.value(rng), 'nosuch'])}"
    key = rng.choice(keys())
    typo = key[:-1] if rng.random() < 0.5 else key.replace(".", "_")
    return rng.choice(
        [f"+{key}=1", f"~{key}", f"~{group}", f"+{group}=x", f"{typo}=1", key, f"++{key}={odd.value(rng)}"]
    )


def said(words: list[str], folder: Path, real: bool, ends: bool = True) -> Trial:
    """The command, run; `ends`: whether it has to end within the limit, however large a number it was given."""
    trial = Trial([f"srd {' '.join(map(repr, words))}{' (as a process of its own)' if real else ''}"])
    below = folder / "here" / "below"  # so that a path that leads up ends in this case's folder
    below.mkdir(parents=True)
    ran = srd(*words, cwd=below, real=real, limit_seconds=LIMIT_SECONDS)
    if (breach := ran.breach()) and (ends or ran.code is not None):
        trial.findings.append(breach)
    elif ran.code == 0 and words[0] in ("plan", "run") and not any(word.startswith("-") for word in words):
        for word in words[1:]:
            key, _, value = word.lstrip("+").partition("=")
            refused = key not in floats(Config) or value.lower() not in odd.NOT_FINITE
            trial.expect(refused, "a refusal of what is no finite number", f"{word}: exit 0")
    return trial


def floats(kind: Any, prefix: str = "") -> list[str]:
    """The dotted keys of a config dataclass that are fractional numbers."""
    found = []
    hints = get_type_hints(kind)
    for each in fields(kind):
        kinds = [hints[each.name], *get_args(hints[each.name])]
        found += [prefix + each.name] * (float in kinds and get_origin(hints[each.name]) not in (list, dict))
        for inner in kinds:
            if is_dataclass(inner):
                found += floats(inner, f"{prefix}{each.name}.")
    return found
