"""What a command may say of damaged outputs."""

from pathlib import Path

from tests.campaign.commands import srd
from tests.campaign.equality import differences
from tests.campaign.lab import STUDY
from tests.campaign.trials import Ran, Trial


def lookers(run: list[str], path: Path) -> list[list[str]]:
    """Commands that look at what is there, one of them at the artefact of a file under outputs."""
    rest, name = run[1:], f"{path.parts[0]}/{path.parts[1].partition('.')[0]}"
    return [["plan", *rest], ["evaluate", *rest], ["report", STUDY], ["show", name], ["ls", "artefacts"]]


def look(
    trial: Trial,
    lines: list[list[str]],
    path: Path,
    outputs: Path,
    sound: Path,
    killed: bool,
    others: tuple[Path, ...] = (),
) -> None:
    """Each command in turn looks at the outputs with the damaged `path`: one line names the file or its folder (or
    one of `others`, where it was exchanged with them), or `run` leaves the sound outputs. Of unfinished outputs
    a command may also say that something is not there yet."""
    names = [name for each in (path, *others) for name in _names(each.relative_to(outputs).parts)]
    absent = killed or not (outputs.joinpath(*path.relative_to(outputs).parts[:2]) / "manifest.json").is_file()
    for words in lines:
        trial.steps.append(f"srd {' '.join(words)}")
        ran = srd(*words, cwd=outputs.parent)
        judge(trial, ran, names, absent, outputs, sound)
        if ran.code == 0 and words[0] in ("report", "show") and not absent:
            same = ran.out == _told(words, sound)
            trial.expect(same, f"what {words[0]} says of sound outputs", "exit 0 and another text")


def judge(trial: Trial, ran: Ran, names: list[str], absent: bool, outputs: Path, sound: Path) -> None:
    """A line holds that names one of `names`, or any where the artefact is `absent`; `run` may leave sound outputs."""
    word = ran.words[0]
    if breach := ran.breach():
        trial.findings.append(breach)
    elif ran.code == 2 and (word == "run" or not absent):
        named = any(name in ran.told[0] for name in names)
        trial.expect(named, f"a line of {word} that names the file or its folder", ran.told[0])
    elif ran.code == 0 and word == "run":
        found = differences(outputs, sound)
        trial.expect(not found, "the sound outputs after run", f"{len(found)}: {'; '.join(found)}")


def _names(parts: tuple[str, ...]) -> tuple[str, str]:
    """What a line may call a path under outputs: the file or its artefact."""
    return parts[-1], parts[1].removesuffix(".partial")


def _told(words: list[str], sound: Path) -> str:
    """What a command says of the sound outputs."""
    return srd(*words, cwd=sound.parent).out
