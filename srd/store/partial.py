"""Row artefacts that survive a kill: batches in a fixed plan, appended one by one, counted apart.

The plan, not the single row, is what continues: a batch is computed whole or not at all, so the rows
come out byte for byte as in an uninterrupted run.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from srd.config import Engine
from srd.runtime import processes
from srd.runtime.progress import bar, say
from srd.store.artefacts import Work
from srd.store.files import replace_text
from srd.store.rows import dump, read_dicts, write_rows

Item = TypeVar("Item")
Counts = dict[str, float]
Tick = Callable[[int], None]
"""Moves the bar by so many rows."""


# A batch by itself would end with most of its slots empty, waiting for the slowest answer; four share one such end.
BLOCK = 4
"""Batches of answers computed as one: rows enter as others finish within them, and a kill costs no more than that."""


def block(engine: Engine) -> int:
    """Rows that a stage answers between two savings."""
    return BLOCK * engine.generation_sequences * processes.count()


def fill(
    work: Work,
    name: str,
    items: list[Item],
    batch_sequences: int,
    compute: Callable[[list[Item], Tick], tuple[list[Any], Counts]],
    key: Callable[[dict[str, Any]], Any],
) -> None:
    """Compute rows for `items` in batches of neighbours and leave them as `name`, sorted by `key`.

    Of several processes every one computes (its share, and gets the whole), and the first one writes. `compute` moves
    the bar as its rows finish and returns a batch's rows and its counts (tokens and the like), which are summed into
    the ledger together with the seconds of the work that a kill did not throw away. A continued run keeps the batch
    size it began with, because the size may move the last bits of a float.
    """
    unsorted = work.path / f"{name}.unsorted.jsonl"
    progress = work.path / f"{name}.progress.json"
    done: dict[str, Any] = {"items": 0, "bytes": 0, "batch_sequences": batch_sequences, "counts": {"seconds": 0.0}}
    if progress.is_file():
        done = json.loads(progress.read_text())
        if done["batch_sequences"] != batch_sequences:
            # Another cut would put other rows beside each other, and pad them to other widths: the last bits of a float
            # may differ from those of a run that was never killed.
            say(
                f"{work.node}  goes on in batches of {done['batch_sequences']}, as begun; "
                f"delete {work.path} to begin anew with {batch_sequences}"
            )
    if processes.is_first():
        # What stands behind the last progress is half a batch, or a whole one whose progress was not written any more:
        # it is computed again, so it has to go. That also takes care of a torn last line.
        unsorted.touch()
        os.truncate(unsorted, done["bytes"])
    with bar(f"{work.node.stage}", len(items), done["items"]) as advance:
        while done["items"] < len(items):
            begin = time.monotonic()
            batch = items[done["items"] : done["items"] + done["batch_sequences"]]
            rows, counts = compute(batch, advance)
            done["items"] += len(batch)
            # Counted in the file that says how far the work got: the ledger has what stands, and not what a
            # kill threw away.
            for what, count in {**counts, "seconds": time.monotonic() - begin}.items():
                done["counts"][what] = done["counts"].get(what, 0) + count
            if processes.is_first():
                with unsorted.open("ab") as file:
                    file.write("".join(dump(row) for row in rows).encode())
                    done["bytes"] = file.tell()
                # Rows first, then the progress that vouches for them: between the two a kill loses one batch.
                replace_text(progress, json.dumps(done))
    if processes.is_first():
        # Sorted at the end, because batches are made by length: the file's order is one that no setting changes.
        temporary = work.path / (name + ".tmp")
        write_rows(temporary, sorted(read_dicts(unsorted), key=key))
        os.replace(temporary, work.path / name)
    work.scratch |= {unsorted.name, progress.name}
    work.ledger |= done["counts"]
