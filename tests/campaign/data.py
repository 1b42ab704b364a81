"""Fuzz of the data: a file is refused by its name and line, or a second reader agrees on what came of it."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

from tests.campaign.commands import srd
from tests.campaign.files import DOUBTFUL, REFUSED, REWRITTEN, write
from tests.campaign.lab import Lab
from tests.campaign.rows import File, draw
from tests.campaign.trials import Ran, Trial
from tests.reading import read_json

MOST_PROMPT_TOKENS, MOST_TOKENS = 48, 64
HELD_OUT = 4
"""Samples of dev and of test."""


def case(rng: Random, lab: Lab, folder: Path) -> Trial:
    """One odd file, read as samples and by the teacher."""
    file = draw(rng)
    path = write(file.lines, file.kind, folder)
    sides = [f"model.{role}.name={lab.folder / role}" for role in ("teacher", "student")]
    words = ["cache", "model=pair", *sides, "model.template=plain", f"model.max_prompt_tokens={MOST_PROMPT_TOKENS}"]
    words += [f"model.max_tokens={MOST_TOKENS}", "engine=cpu", "engine.threads=1", "generation.max_new_tokens=8"]
    words += ["dataset=jsonl", f"dataset.path={path}"]
    words += [f"dataset.dev_samples={HELD_OUT}", f"dataset.test_samples={HELD_OUT}"]
    trial = Trial([f"{len(file.lines)} rows; {', '.join(file.what) or 'nothing odd'}", f"srd {' '.join(words)}"])
    ran = srd(*words, cwd=folder)
    if breach := ran.breach():
        trial.findings.append(breach)
    elif ran.code == 2:
        check_refusal(trial, file, ran)
    else:
        refused = file.kind in REFUSED or file.refused
        trial.expect(not refused, f"a refusal of {', '.join(file.what)}", f"exit 0: {ran.out.strip()}")
        if not refused:
            _check_samples(trial, file, ran, folder / "outputs")
            _check_positions(trial, folder / "outputs", lab.folder / "teacher" / "tokenizer.json")
    return trial


def check_refusal(trial: Trial, file: File, ran: Ran) -> None:
    """The line names the file and, where the fault is one of a row, the first line that is at fault."""
    line = ran.told[0]
    trial.expect(file.name in line, "a line that names the data file", line)
    if file.kind in (*REFUSED, *DOUBTFUL):
        return
    odd = {*file.refused, *file.doubtful}
    trial.expect(bool(odd), f"that sound rows are read ({', '.join(file.what)})", line)
    named = re.search(r"rows\.jsonl(?:\.gz)?:(\d+)", line)
    trial.expect(named is not None and int(named[1]) in odd, f"one of the odd lines {sorted(odd)} named", line)


def _check_samples(trial: Trial, file: File, ran: Ran, outputs: Path) -> None:
    """Rows are samples or said to be skipped, and each sound text has come through as it was."""
    samples = _rows(outputs, "samples/*/samples.jsonl")
    skipped = sum(int(count) for count in re.findall(r"(\d+) (?:with an empty response|duplicates)", ran.err))
    counts = f"{len(samples)} samples and {skipped} said to be skipped"
    trial.expect(len(samples) + skipped == len(file.lines), f"every one of {len(file.lines)} rows told", counts)
    if file.kind in REWRITTEN:
        return
    texts = {_text(row) for row in samples}
    wanted = {_text(row) for row in file.sound if any(text.strip() for text in _outputs(row))}
    trial.expect(wanted <= texts, "every text as it was", f"missing {str(sorted(wanted - texts))[:200]}")
    foreign = texts - wanted
    trial.expect(len(foreign) <= len(file.doubtful), "no text that is in no row", str(sorted(foreign))[:200])


def _check_positions(trial: Trial, outputs: Path, tokens: Path) -> None:
    """The teacher is asked at as many positions of every response as it has tokens, its end included."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokens))
    tokenizer.encode_special_tokens = True  # what is spelt in a row is text
    index = _rows(outputs, "cache/*/index.jsonl")
    folder = next(outputs.glob("cache/*/layout.json")).parent
    layout = read_json(folder / "layout.json")
    total = sum((folder / name).stat().st_size for name in layout["shards"]) // (4 * layout["width"])
    starts = [*(row["first"] for row in index), total]
    asked = {row["id"]: after - row["first"] for row, after in zip(index, starts[1:], strict=True)}
    samples = {row["id"]: row for row in _rows(outputs, "samples/*/samples.jsonl") if row["split"] == "train"}
    expected = {id: _positions(row, tokenizer) for id, row in samples.items()}
    wrong = [f"{id}: {asked.get(id)} not {count}" for id, count in expected.items() if asked.get(id) != count]
    trial.expect(not wrong, "as many positions as the response has tokens", "; ".join(wrong))


def _positions(row: dict[str, Any], tokenizer: Any) -> int:
    """Supervised positions of a row, counted anew: response and EOS, as far as there is room behind the prompt."""
    prompt = "\n".join(part for part in (row["instruction"], row["input"]) if part) + "\n=>\n"
    response = _outputs(row)[0]
    before, both = (tokenizer.encode(text, add_special_tokens=False).ids for text in (prompt, prompt + response))
    alone = tokenizer.encode(response, add_special_tokens=False).ids
    count = len(both) - len(before) if both[: len(before)] == before else len(alone)
    return min(count + 1, MOST_TOKENS - min(len(before), MOST_PROMPT_TOKENS))


def _rows(outputs: Path, pattern: str) -> list[dict[str, Any]]:
    """Rows of an artefact's file; texts may hold what other readers take for the end of a line."""
    return [json.loads(line) for line in next(outputs.glob(pattern)).read_bytes().split(b"\n") if line]


def _outputs(row: dict[str, Any]) -> list[str]:
    return row["output"] if isinstance(row["output"], list) else [row["output"]]


def _text(row: dict[str, Any]) -> str:
    return f"{row['instruction']}\0{row.get('input') or ''}\0{row['output']}"
