"""cache: the teacher reads every training sample once; what enters its head, or some classes of its distribution, is
kept for all arms and epochs."""

import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import CONFIG_NAME

from srd.config import Classes, Engine, Pair, Text
from srd.distillation.cached import HEAD, INDEX, LAYOUT, CachedTeacher, save_head
from srd.distillation.fidelity import check_fidelity, check_finite, compare, roundoff
from srd.distillation.records import Record, record_of
from srd.distillation.shards import Written, layout, shard_name, write_states
from srd.errors import UserError
from srd.models.device import autocast
from srd.models.heads import WholePass, head_logits, head_of, hidden_at
from srd.runtime import processes
from srd.runtime.clock import Clock
from srd.runtime.progress import bar, say
from srd.stages.costs import reading_flops
from srd.stages.inputs import Loaded, read_model, read_samples
from srd.store.artefacts import Work
from srd.store.columns import read_columns
from srd.store.files import remove, replace_text
from srd.store.remains import clear
from srd.store.rows import write_rows
from srd.store.seals import seal, unseal
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
    dtype: str = "float32"
    """Of hidden states: float32, bfloat16, float16 or float8."""
    signal: str = "hidden"
    """hidden, sampled or top."""
    classes: Classes | None = None
    """Which classes are kept; none: hidden states are."""


def make(work: Work[Settings, Pair]) -> None:
    """Leave the states in shards, their index, and the teacher's head; states that do not give the teacher's logits
    back are a `UserError`."""
    settings, loaded = work.settings, read_model(work, "teacher", work.settings.teacher)
    model, pad, vocabulary = loaded.model, loaded.pad_id, loaded.vocabulary
    if settings.signal == "hidden" and isinstance(head_of(model), WholePass):
        raise UserError(
            f"teacher.signal=hidden: the logits of {type(model).__name__} cannot be made from what enters its head; "
            "use teacher.signal=online"
        )
    rows, record = _rows(work, loaded), _record(settings, model, vocabulary)
    try:
        work.leaves |= build(model, rows, work.path, record, work.engine, pad, vocabulary, work.clock)
        spread = sorted(rows, key=lambda row: (row.num_tokens, row.id))[:: max(1, len(rows) // CHECKED)][:CHECKED]
        with work.clock.part("fidelity check"):
            cached = CachedTeacher(work.path, vocabulary, model.device)
            fidelity = compare(model, cached, spread, pad, vocabulary, work.engine)
            check_fidelity(fidelity, roundoff(settings.dtype, model, work.engine), settings.dtype)
    except UserError:
        if processes.is_first():
            clear(work.path)  # of no use to a run that continues, and large
        raise
    positions, bytes_each = sum(row.num_supervised for row in rows), record.width * record.dtype.itemsize
    say(f"cache: {positions:,} positions of {bytes_each:,} bytes, {fidelity.text} on {len(spread)} samples")
    work.ledger |= {
        "scoring_passes": len(rows),
        "scored_tokens": positions,
        "bytes_per_position": bytes_each,
        **fidelity.ledger,
        "flops": reading_flops(loaded.parameters, sum(row.num_tokens for row in rows) - positions, positions),
    }


def _record(settings: Settings, model: PreTrainedModel, vocabulary: int) -> Record:
    """How the positions are kept."""
    if settings.classes is not None:
        return record_of({"signal": settings.signal, "classes": asdict(settings.classes)}, vocabulary)
    width = int(model.get_output_embeddings().weight.shape[1])  # pyright: ignore
    return record_of({"width": width, "dtype": settings.dtype}, vocabulary)


def _rows(work: Work[Settings, Pair], loaded: Loaded) -> list[Encoded]:
    """The training samples that are kept, or all of them where everybody may read."""
    samples = read_samples(work, "train")
    if "selection" in work.inputs:
        kept = set(read_columns(work.inputs["selection"] / "selection.jsonl", {"id": str})["id"].tolist())
        samples = [sample for sample in samples if sample.id in kept]
    return encode_all(samples, loaded.tokenizer, work.settings.text)


def build(
    model: PreTrainedModel,
    rows: list[Encoded],
    folder: Path,
    record: Record,
    engine: Engine,
    pad: int,
    vocabulary: int,
    clock: Clock | None = None,
) -> set[str]:
    """Leave what `record` keeps of `rows` in `folder`, with all that `CachedTeacher` needs; returns the files' names.

    One pass over batches of like length, `engine.micro_batch_tokens` padded tokens each; a killed run goes on with the
    next batch, if what it left holds.
    """
    bytes_each = record.width * record.dtype.itemsize
    begun = read_progress(folder) if processes.is_first() else None
    done = processes.from_first(begun) or {"batches": 0, "max_tokens": engine.micro_batch_tokens}
    plan = pack(rows, done["max_tokens"])
    index, shards = layout([row for batch in plan for row in batch], bytes_each)
    written = Written(folder, shards, bytes_each)
    if processes.is_first() and not written.restore(done.get("states")):
        say(f"{folder}: the hidden states that a killed run left are damaged; made anew")
        done["batches"] = 0
    done = processes.from_first(done)
    _check_disk(folder, sum(shards) * bytes_each)
    if done["batches"] and clock is not None:
        clock.carry(done["clock"])
    store = Store(folder, {entry["id"]: entry for entry in index}, record, written, vocabulary)
    _fill(model, plan, store, done, engine, pad, clock or Clock())
    names = [shard_name(number) for number in range(len(shards))]
    if processes.is_first():
        write_rows(folder / INDEX, index)
        replace_text(folder / LAYOUT, json.dumps({**record.layout, "shards": names}) + "\n")
        if record.keeps_logits:
            save_head(model, folder)
    processes.wait()
    return {*names, INDEX, LAYOUT, *((HEAD, CONFIG_NAME) if record.keeps_logits else ())}


@dataclass
class Store:
    """Where the states of every row go."""

    folder: Path
    places: dict[str, dict[str, Any]]
    record: Record
    written: Written
    vocabulary: int


@torch.no_grad()
def _fill(
    model: PreTrainedModel,
    plan: list[list[Encoded]],
    store: Store,
    done: dict[str, Any],
    engine: Engine,
    pad: int,
    clock: Clock,
) -> None:
    """Write the hidden states batch by batch, each to its place, counting in `done`; a batch for every process at a
    time."""
    sizes = [sum(row.num_tokens for row in batch) for batch in plan]
    with bar("cache, tokens", sum(sizes), sum(sizes[: done["batches"]])) as advance:
        for first in range(done["batches"], len(plan), processes.count()):
            batches = plan[first : first + processes.count()]
            for batch in processes.share(batches):
                padded = collate(batch, pad).to(model.device)
                with autocast(model.device, engine):
                    hidden = hidden_at(model, padded)
                    logits = partial(_logits, model, hidden, store.vocabulary)
                    stored = store.record.pack(hidden, logits, padded, engine.loss_positions)
                check_finite(hidden, stored, store.record.dtype)
                for row, states in zip(batch, stored.cpu().split([row.num_supervised for row in batch]), strict=True):
                    write_states(states, store.places[row.id], store.folder)
            processes.wait()
            if processes.is_first():
                store.written.extend(sum(row.num_supervised for batch in batches for row in batch))
                ended = first + len(batches)
                now = {"folder": store.folder.name, "batches": ended, "items": sum(map(len, plan[:ended]))}
                now |= {"max_tokens": done["max_tokens"]}
                state = {"states": store.written.mark, "clock": clock.reading()}
                replace_text(store.folder / PROGRESS, seal(now | state))
            advance(sum(sizes[first : first + len(batches)]))


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Where a killed run stopped, with the batches it began with; None where that is not to be believed."""
    place = folder / PROGRESS
    done = unseal(place) if place.exists() else None
    if done is not None and done["folder"] == folder.name and "clock" in done:  # an older srd kept no parts
        return done
    if place.exists():
        say(f"{place}: what a killed run left is damaged; made anew")
        remove(place)
    elif any(folder.glob("states-*")):
        say(f"{folder}: nothing vouches for the hidden states that a killed run left; made anew")
    return None


def _logits(
    model: PreTrainedModel, hidden: Float[Tensor, "N H"], vocabulary: int, chunk: slice
) -> Float[Tensor, "n V"]:
    return head_logits(model, hidden[chunk], vocabulary)


def _check_disk(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free + sum(path.stat().st_size for path in folder.glob("states-*"))
    if needed_bytes > free:
        raise UserError(
            f"the teacher cache needs {needed_bytes / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB; "
            "use teacher.dtype=bfloat16, teacher.signal=online or another outputs=FOLDER"
        )
