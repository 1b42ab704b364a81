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
from tests.campaign.misplace import misplace
from tests.campaign.trials import Ran, Trial
from tests.campaign.variants import VARIANTS
from tests.campaign.wounds import Wound, draw
from tests.reading import read_json

WAYS = ("cut", "empty", "delete", "flip", "zero", "exchange", "beside", "folder", "edit")


def case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """One file is damaged; what looks at it says so in one line, or gives what the sound run gave."""
    variant = rng.choice([name for name in VARIANTS if name not in ("two processes", "several arms")])
    sound, trial = lab.sound(variant), Trial()
    outputs = folder / "outputs"
    if rng.random() < 0.4:
        wound = draw(rng, sound.writes, sound.seconds, shared=False)
        trial.steps += [f"srd {' '.join(sound.words)}", str(wound)]
        srd(*sound.words, cwd=folder, wound=Wound(wound.signal, "group", wound.writes, wound.delay))
        if not outputs.is_dir():
            return trial
    else:
        shutil.copytree(sound.outputs, outputs)
    done = (misplace(rng, outputs) if rng.random() < 0.2 else None) or _one_file(rng, outputs)
    if done is None:
        return trial
    touched, how = done
    trial.steps.append(f"{touched[0].relative_to(folder)}: {how}")
    stage, fingerprint = touched[0].relative_to(outputs).parts[:2]
    for words in [*rng.sample(_lookers(sound.words, f"{stage}/{fingerprint.partition('.')[0]}"), 2), sound.words]:
        trial.steps.append(f"srd {' '.join(words)}")
        check(trial, srd(*words, cwd=folder), touched, outputs, sound.outputs)
    return trial


def _one_file(rng: Random, outputs: Path) -> tuple[list[Path], str] | None:
    path = _choose(rng, outputs)
    return None if path is None else ([path], damage(rng, path))


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


def _lookers(run: list[str], name: str) -> list[list[str]]:
    """Commands that look at what is there."""
    rest = run[1:]
    return [["plan", *rest], ["evaluate", *rest], ["report", STUDY], ["show", name], ["ls", "artefacts"]]


def check(trial: Trial, ran: Ran, touched: list[Path], outputs: Path, sound: Path) -> None:
    """One line that names what was touched or its folder; or, after `run`, the sound outputs."""
    word = ran.words[0]
    if breach := ran.breach():
        trial.findings.append(breach)
    elif ran.code == 2:
        names = {"no artefact"}.union(*(_names(path.relative_to(outputs).parts, sound) for path in touched))
        if not any(outputs.glob(f"report/{STUDY}/runs/*.json")):
            names.add("unknown study")  # killed, or damaged, before its run was entered
        named = any(name in ran.told[0] for name in names)
        trial.expect(named, f"a line of {word} that names the file or its folder", ran.told[0])
    elif word == "run":
        found = differences(outputs, sound)
        trial.expect(not found, "the sound outputs after run", f"{len(found)}: {'; '.join(found)}")


def _names(parts: tuple[str, ...], sound: Path) -> set[str]:
    """What a line may name: the file, its artefact, or what that was made from."""
    manifest = sound.joinpath(*parts[:2]) / "manifest.json"
    inputs = read_json(manifest)["inputs"] if manifest.is_file() else {}
    made_from = {str(each).partition("/")[2] for each in inputs.values()}
    return {parts[-1], parts[1].removesuffix(".partial")} | made_from
