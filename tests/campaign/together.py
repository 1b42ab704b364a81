"""Two commands at once on one outputs folder leave what one of them leaves."""

from pathlib import Path
from random import Random

from tests.campaign.commands import finish, srd, start
from tests.campaign.equality import differences
from tests.campaign.lab import STUDY, Lab
from tests.campaign.trials import Trial
from tests.campaign.variants import VARIANTS
from tests.campaign.wounds import draw

LOOKERS = [["report", STUDY], ["ls", "artefacts"], ["show", "samples/"]]


def case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """A run beside itself, killed or whole, or beside a command that looks; then the run once more."""
    sound = lab.sound(rng.choice([name for name in VARIANTS if name != "two processes"]))
    first, second = folder / "first", folder / "second"
    for each in (first, second):
        each.mkdir()
        (each / "outputs").symlink_to("../outputs", target_is_directory=True)
    (folder / "outputs").mkdir()
    wound = draw(rng, sound.writes, sound.seconds, shared=False) if rng.random() < 0.5 else None
    beside = rng.choice([sound.words, sound.words, ["plan", *sound.words[1:]], *LOOKERS])
    trial = Trial([f"srd {' '.join(sound.words)} ({wound or 'whole'})", f"beside: srd {' '.join(beside)}"])
    one = start(*sound.words, cwd=first, wound=wound)
    other = srd(*beside, cwd=second)
    ran = finish(one, tuple(sound.words), first)
    codes = (0,) if beside == sound.words else (0, 2)
    for each in [other] if wound else [other, ran]:
        if breach := each.breach(codes if each is other else (0,)):
            trial.findings.append(breach)
    last = srd(*sound.words, cwd=first)
    if breach := last.breach((0,)):
        trial.findings.append(breach)
    elif found := differences(folder / "outputs", sound.outputs):
        trial.expect(False, "the outputs of one run alone", f"{len(found)}: {'; '.join(found)}")
    return trial
