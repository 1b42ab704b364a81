"""cache: the teacher reads every training sample once; what enters its head is kept for all arms, epochs and
temperatures."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from srd.config import Engine, Pair, Text
from srd.distillation.divergences import forward_kl
from srd.distillation.hidden import INDEX, LAYOUT, STORED, CachedTeacher, layout, save_head, shard_name, write_states
from srd.errors import UserError
from srd.models.device import autocast
from srd.models.heads import WholePass, head_of, hidden_at, logits_at
from srd.runtime import processes
from srd.runtime.progress import bar, say
from srd.stages.costs import forward_flops
from srd.stages.inputs import read_model, read_samples
from srd.store.artefacts import Work
from srd.store.files import replace_text
from srd.store.rows import write_rows
from srd.text.batches import collate, pack
from srd.text.encoding import Encoded, encode_all

CHECKED = 64
"""Rows on which the cache is compared with the online teacher."""


PROGRESS = "cache.progress.json"


@dataclass
class Settings:
    """What decides the stored states."""

    text: Text
    teacher: dict[str, Any]
    """Identity of its weights."""
    dtype: str
    """float32, bfloat16 or float16."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave the states in shards, their index, and the teacher's head."""
    settings, loaded = work.settings, read_model(work, "teacher", work.settings.teacher)
    model, pad, vocabulary = loaded.model, loaded.pad_id, loaded.vocabulary
    if isinstance(head_of(model), WholePass):
        raise UserError(
            f"teacher.signal=hidden: the logits of {type(model).__name__} cannot be made from what enters its head; "
            "use teacher.signal=online"
        )
    rows = encode_all(read_samples(work, "train"), loaded.tokenizer, settings.text)
    seconds = build(model, rows, work.path, settings.dtype, work.engine, pad)
    spread = sorted(rows, key=lambda row: (row.num_tokens, row.id))[:: max(1, len(rows) // CHECKED)][:CHECKED]
    cached = CachedTeacher(work.path, vocabulary, model.device)
    fidelity = compare(model, cached, spread, pad, vocabulary, work.engine)
    positions = sum(len(row.response) for row in rows)
    say(f"cache: {positions:,} positions, KL(online ‖ cached) {fidelity:.1e} nats per token on {len(spread)} samples")
    work.scratch.add(PROGRESS)
    work.ledger |= {
        "seconds": seconds,
        "scoring_passes": len(rows),
        "scored_tokens": positions,
        "fidelity_kl_nats": fidelity,
        "flops": forward_flops(loaded.parameters, sum(row.num_tokens for row in rows)),
    }


def build(model: PreTrainedModel, rows: list[Encoded], folder: Path, dtype: str, engine: Engine, pad: int) -> float:
    """Leave the hidden states of `rows` in `folder`, with all that `CachedTeacher` needs; returns the seconds it took,
    without what a kill threw away.

    One pass over batches of like length, `engine.micro_batch_tokens` padded tokens each; a killed run goes on with the
    next batch.
    """
    width = int(model.get_output_embeddings().weight.shape[1])  # pyright: ignore
    done = _progress(folder, engine.micro_batch_tokens)
    plan = pack(rows, done["max_tokens"])
    index, shards = layout([row for batch in plan for row in batch], width * STORED[dtype].itemsize)
    _check_disk(folder, sum(shards) * width * STORED[dtype].itemsize)
    _fill(model, plan, folder, {entry["id"]: entry for entry in index}, done, STORED[dtype], engine, pad)
    if processes.is_first():
        write_rows(folder / INDEX, index)
        names = [shard_name(number) for number in range(len(shards))]
        replace_text(folder / LAYOUT, json.dumps({"width": width, "dtype": dtype, "shards": names}) + "\n")
        save_head(model, folder)
    processes.wait()
    return done["seconds"]


def compare(
    model: PreTrainedModel, cache: CachedTeacher, rows: list[Encoded], pad: int, vocabulary: int, engine: Engine
) -> float:
    """Mean KL(online ‖ cached) over the supervised positions of `rows`, nats per token, one row at a time."""
    values = []
    for row in rows:
        batch = collate([row], pad).to(model.device)
        with torch.no_grad(), autocast(model.device, engine):
            pair = (logits_at(model, batch, vocabulary), cache.logits(cache.states(batch)))
        values.append(forward_kl(*(torch.log_softmax(logits.double(), -1) for logits in pair)))
    return float(torch.cat(values).mean())


@torch.no_grad()
def _fill(
    model: PreTrainedModel,
    plan: list[list[Encoded]],
    folder: Path,
    places: dict[str, dict[str, Any]],
    done: dict[str, Any],
    dtype: torch.dtype,
    engine: Engine,
    pad: int,
) -> None:
    """Write the hidden states batch by batch, each to its place, counting in `done`; a batch for every process at a
    time."""
    with bar("cache", len(places), done["items"]) as advance:
        for first in range(done["batches"], len(plan), processes.count()):
            begin = time.monotonic()
            batches = plan[first : first + processes.count()]
            for batch in processes.share(batches):
                with autocast(model.device, engine):
                    hidden = hidden_at(model, collate(batch, pad).to(model.device)).to(dtype).cpu()
                for row, states in zip(batch, hidden.split([len(row.response) for row in batch]), strict=True):
                    write_states(states, places[row.id], folder)
            processes.wait()
            rows = sum(map(len, batches))
            done |= {
                "batches": first + len(batches),
                "items": done["items"] + rows,
                "seconds": done["seconds"] + time.monotonic() - begin,
            }
            if processes.is_first():
                replace_text(folder / PROGRESS, json.dumps(done))
            advance(rows)


def _progress(folder: Path, max_tokens: int) -> dict[str, Any]:
    """Where a killed run stopped; it goes on with the batches it began with."""
    place = folder / PROGRESS
    return (
        json.loads(place.read_text())
        if place.is_file()
        else {"batches": 0, "items": 0, "seconds": 0.0, "max_tokens": max_tokens}
    )


def _check_disk(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free + sum(path.stat().st_size for path in folder.glob("hidden-*"))
    if needed_bytes > free:
        raise UserError(
            f"the teacher cache needs {needed_bytes / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB; "
            "use teacher.dtype=bfloat16, teacher.signal=online or another outputs=FOLDER"
        )
