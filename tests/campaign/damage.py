"""Damage: a file of a finished run, or of the remains of a killed one, is not as it was; no command passes it over."""

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from tests.campaign.commands import srd
from tests.campaign.lab import Lab
from tests.campaign.looking import look, lookers
from tests.campaign.misplace import Harm, misplace
from tests.campaign.trials import Trial
from tests.campaign.variants import VARIANTS
from tests.campaign.wounds import draw

MISPLACED_SHARE = 0.2
WAYS = ("cut", "empty", "delete", "flip", "zero", "exchange", "beside", "folder", "edit")


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
    if done := (misplace(rng, outputs) if rng.random() < MISPLACED_SHARE else None) or _one_file(rng, outputs):
        path, how, others = done
        trial.steps.append(f"{path.relative_to(folder)}: {how}")
        first = rng.sample(lookers(sound.words, path.relative_to(outputs)), 2)
        look(trial, [*first, sound.words], path, outputs, sound.outputs, killed, others)
    return trial


def _one_file(rng: Random, outputs: Path) -> Harm | None:
    path = _choose(rng, outputs)
    return None if path is None else Harm(path, damage(rng, path))


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
    if not data or way == "empty":
        os.truncate(path, 0)
        return "emptied"
    if way == "cut":
        left = rng.choice([len(data) // 2, rng.randrange(len(data)), len(data) - 1])
        os.truncate(path, left)
        return f"cut to {left} of {len(data)} bytes"
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
