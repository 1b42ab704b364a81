"""Damage: a file of a finished run, or of the remains of a killed one, is not as it was; no command passes it over."""

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from tests.campaign.commands import srd
from tests.campaign.equality import differences
from tests.campaign.lab import STUDY, Lab
from tests.campaign.trials import Trial
from tests.campaign.variants import VARIANTS
from tests.campaign.wounds import draw

WAYS = ("halve", "empty", "delete", "flip", "zero", "exchange", "beside", "folder", "edit")


def case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """One file is damaged; what looks at it says so in one line, or gives what the sound run gave."""
    variant = rng.choice([name for name in VARIANTS if name not in ("two processes", "several arms")])
    sound, trial = lab.sound(variant), Trial()
    outputs = folder / "outputs"
    killed = rng.random() < 0.4
    if killed:
        wound = draw(rng, sound.writes, sound.seconds, shared=False)
        trial.steps += [f"srd {' '.join(sound.words)}", str(wound)]
        srd(*sound.words, cwd=folder, wound=wound)
    else:
        shutil.copytree(sound.outputs, outputs)
    if path := _choose(rng, outputs):
        trial.steps.append(f"{path.relative_to(folder)}: {damage(rng, path)}")
        lookers = rng.sample(_lookers(sound.words, path.relative_to(outputs)), 2)
        look(trial, [*lookers, sound.words], path, outputs, sound.outputs, killed)
    return trial


def look(trial: Trial, lines: list[list[str]], path: Path, outputs: Path, sound: Path, killed: bool) -> None:
    """Each command in turn looks at the outputs with the damaged `path`: one line that names the file or its folder, or
    after `run` the sound outputs. Of unfinished outputs a command may also say that something is not there yet."""
    absent = killed or not (outputs.joinpath(*path.relative_to(outputs).parts[:2]) / "manifest.json").is_file()
    for words in lines:
        trial.steps.append(f"srd {' '.join(words)}")
        ran = srd(*words, cwd=outputs.parent)
        if breach := ran.breach():
            trial.findings.append(breach)
        elif ran.code == 2 and (words[0] == "run" or not absent):
            parts = path.relative_to(outputs).parts
            named = any(name in ran.told[0] for name in (path.name, parts[1].removesuffix(".partial")))
            trial.expect(named, f"a line of {words[0]} that names the file or its folder", ran.told[0])
        elif words[0] == "run" and ran.code == 0:
            found = differences(outputs, sound)
            trial.expect(not found, "the sound outputs after run", f"{len(found)}: {'; '.join(found)}")
        elif words[0] in ("report", "show") and not absent:
            same = ran.out == _told(words, sound)
            trial.expect(same, f"what {words[0]} says of sound outputs", "exit 0 and another text")


def _told(words: list[str], sound: Path) -> str:
    """What a command says of the sound outputs."""
    return srd(*words, cwd=sound.parent).out


def _choose(rng: Random, outputs: Path) -> Path | None:
    """A file of what a killed run left unfinished where there is any, else of any artefact or entry."""
    every = sorted(path for path in outputs.rglob("*") if path.is_file() and path.suffix != ".lock")
    partial = [path for path in every if ".partial" in path.as_posix()]
    return rng.choice(partial or every) if every else None


def damage(rng: Random, path: Path) -> str:
    """Damage a file in one of the ways that fit it; says how."""
    way = rng.choice(WAYS)
    data = bytearray(path.read_bytes())
    neighbours = sorted(each for each in path.parent.iterdir() if each.is_file() and each != path)
    if way == "edit" and path.suffix in (".json", ".jsonl"):
        return edit(rng, path)
    if way == "exchange" and neighbours:
        other = rng.choice(neighbours)
        shutil.copyfile(other, path)
        return f"replaced by {other.name}"
    if way == "beside":
        beside = path.with_name(rng.choice(["added_tokens.json", "chat_template.jinja", "model-00002.safetensors"]))
        shutil.copyfile(path, beside)
        return f"a copy beside it, {beside.name}"
    if way in ("delete", "folder"):
        path.unlink()
        if way == "folder":
            path.mkdir()
        return {"delete": "deleted", "folder": "a folder in its place"}[way]
    if way == "halve":
        os.truncate(path, len(data) // 2)
        return "halved"
    if not data or way == "empty":
        os.truncate(path, 0)
        return "emptied"
    place = rng.randrange(len(data))
    if way == "zero":
        data[place : place + 16] = bytes(len(data[place : place + 16]))
    else:
        data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"byte {place} {'and 15 more zero' if way == 'zero' else 'flipped'}"


def edit(rng: Random, path: Path) -> str:
    """Another value in a JSON document, or in one of its rows; sometimes another document."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    number = rng.randrange(len(lines)) if lines else 0
    try:
        record = json.loads(lines[number])
    except (ValueError, IndexError):
        os.truncate(path, 0)
        return "emptied"
    if rng.random() < 0.15 or not isinstance(record, dict) or not record:
        record, where = rng.choice([{}, [], None, 0, "x", {"files": {}}]), "all of it"
    else:
        node: Any = record
        where = key = rng.choice(sorted(node))
        while isinstance(node[key], dict) and node[key]:
            node = node[key]
            key = rng.choice(sorted(node))
            where += f".{key}"
        node[key] = rng.choice([0, -1, 0.99, None, "", "x", [], {}, True])
    lines[number] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"line {number + 1}: {where} edited: {lines[number][:80]}"


def _lookers(run: list[str], path: Path) -> list[list[str]]:
    """Commands that look at what is there, one of them at the artefact of a file under outputs."""
    rest, name = run[1:], f"{path.parts[0]}/{path.parts[1].partition('.')[0]}"
    return [["plan", *rest], ["evaluate", *rest], ["report", STUDY], ["show", name], ["ls", "artefacts"]]
