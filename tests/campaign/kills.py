"""Kills: a run that is killed, once or several times, ends as if nobody had."""

import signal
from pathlib import Path
from random import Random

from tests.campaign.commands import srd
from tests.campaign.equality import differences
from tests.campaign.lab import Lab
from tests.campaign.trials import Ran, Trial
from tests.campaign.variants import VARIANTS
from tests.campaign.wounds import Wound, draw

MOST_KILLS = 3
REAL_SHARE = 0.2
"""Cases that start as a user starts them, and may be killed while they import."""
IMPORT_SECONDS = 4.0
INTERRUPTED = "srd: interrupted; the same command continues"


def case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """A variant is killed at random writes, then runs to its end."""
    variant = rng.choice(list(VARIANTS))
    sound = lab.sound(variant)
    shared = any(word.startswith("engine.processes=") for word in sound.words)
    real = rng.random() < REAL_SHARE
    seconds = sound.seconds + IMPORT_SECONDS * real
    wounds = [draw(rng, sound.writes, seconds, shared or real) for _ in range(rng.randint(1, MOST_KILLS))]
    return killed(sound.words, wounds, sound.outputs, folder, real)


def killed(words: list[str], wounds: list[Wound], sound: Path, folder: Path, real: bool = False) -> Trial:
    """The command after each wound and after the last one whole, compared with the sound outputs."""
    trial = Trial([f"srd {' '.join(words)}{' (as a process of its own)' if real else ''}"])
    for wound in wounds:
        trial.steps.append(str(wound))
        ran = srd(*words, cwd=folder, wound=wound, real=real)
        _check_end(trial, ran, wound)
        trial.expect(ran.left == 0, "what a killed command has started ends with it", f"{wound}: {ran.left} live on")
    last = srd(*words, cwd=folder)
    if breach := last.breach((0,)):
        trial.findings.append(breach)
    elif found := differences(folder / "outputs", sound):
        trial.expect(False, "the outputs of the uninterrupted run", f"{len(found)}: {'; '.join(found)}")
    return trial


def _check_end(trial: Trial, ran: Ran, wound: Wound) -> None:
    """A wounded command ends by its signal, or (its ranks killed, an interrupt) as the house says."""
    if ran.code == 0:
        return  # it was quicker than the wound
    if wound.signal == signal.SIGINT:
        holds = ran.code == 130 and ran.told[-1:] == [INTERRUPTED] and "Traceback" not in ran.err
        came = f"exit {ran.code}: {ran.innermost()}: {' / '.join(ran.told[-2:])}"
        trial.expect(holds, "exit 130 and a line that says how to continue", came)
    elif wound.whom == "other":
        breach = ran.breach((2,))
        trial.expect(breach is None, "a killed rank is one line", breach.came if breach else "")
    else:
        trial.expect(ran.code == -wound.signal, f"an end by {wound.signal.name}", f"exit {ran.code} {ran.told[-1:]}")
