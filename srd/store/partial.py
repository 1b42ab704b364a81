"""Row artefacts that survive a kill: batches in a fixed plan, appended one by one, counted apart.

The plan, not the single row, is what continues: a batch is computed whole or not at all, so the rows
come out byte for byte as in an uninterrupted run.
"""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from srd.config import Engine
from srd.runtime import processes
from srd.runtime.progress import bar, say
from srd.store.artefacts import Work
from srd.store.files import put, remove, replace_text, unfinished
from srd.store.remains import Grown
from srd.store.rows import dump, read_dicts, write_rows
from srd.store.seals import seal, unseal

Item = TypeVar("Item")
Counts = dict[str, float]
Tick = Callable[[float], None]
"""Moves the bar by so many rows."""


# A batch by itself would end with most of its slots empty, waiting for the slowest answer; four share one such end.
BLOCK = 4
"""Batches of answers computed as one: rows enter as others finish within them, and a kill costs no more than that."""


def block(engine: Engine) -> int:
    """Rows that a stage answers between two savings."""
    return BLOCK * engine.generation_sequences * processes.count()


def neighbours(items: list[Item], size: int) -> list[list[Item]]:
    """`items` in their order, `size` at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def fill(
    work: Work,
    name: str,
    items: list[Item],
    batch_sequences: int,
    compute: Callable[[list[Item], Tick], tuple[list[Any], Counts]],
    key: Callable[[dict[str, Any]], Any],
    tokens: Callable[[Item], int] = lambda item: 1,
    cut: Callable[[list[Item], int], list[list[Item]]] = neighbours,
) -> None:
    """Compute rows for `items` in the batches that `cut` makes of a size, and leave them as `name`, sorted by `key`.

    Of several processes every one computes (its share, and gets the whole), and the first one writes. `compute` tells
    its rows as they finish and returns a batch's rows and its counts (tokens and the like), which are summed into the
    ledger. `tokens` is about what an item takes: the bar counts them. A continued run keeps the batch size it began
    with, because the size may move the last bits of a float.
    """
    unsorted = Grown(work.path / f"{name}.unsorted.jsonl")
    progress = work.path / f"{name}.progress.json"
    begun = _begun(work, progress, unsorted) if processes.is_first() else None
    done = processes.from_first(begun) or {"items": 0, "batch_sequences": batch_sequences, "counts": {}}
    if done["batch_sequences"] != batch_sequences:
        # Another cut would put other rows beside each other, and pad them to other widths: the last bits of a float
        # may differ from those of a run that was never killed.
        say(
            f"{work.node}  goes on in batches of {done['batch_sequences']}, as begun; "
            f"delete {work.path} to begin anew with {batch_sequences}"
        )
    batches = cut(items, done["batch_sequences"])
    sizes = [sum(map(tokens, batch)) for batch in batches]
    behind = bisect_right(list(accumulate(map(len, batches))), done["items"])
    with bar(f"{work.node.stage}, tokens", sum(sizes), sum(sizes[:behind])) as advance:
        for batch, size in list(zip(batches, sizes, strict=True))[behind:]:
            mean = size / len(batch)
            rows, counts = compute(batch, lambda rows, mean=mean: advance(rows * mean))
            done["items"] += len(batch)
            for what, count in counts.items():
                done["counts"][what] = done["counts"].get(what, 0) + count
            if processes.is_first():
                unsorted.append("".join(dump(row) for row in rows))
                # Rows first, then the progress that vouches for them: between the two a kill loses one batch.
                place = {"folder": work.path.name, "rows": unsorted.mark, "clock": work.clock.reading()}
                replace_text(progress, seal({**done, **place}))
    if processes.is_first():
        # Sorted at the end, because batches are made by length: the file's order is one that no setting changes.
        temporary = unfinished(work.path / name)
        write_rows(temporary, sorted(read_dicts(unsorted.path), key=key) if items else [])
        put(temporary, work.path / name)
    work.leaves.add(name)
    work.ledger |= done["counts"]


def _begun(work: Work, progress: Path, unsorted: Grown) -> dict[str, Any] | None:
    """How far a killed run came, its rows cut back to that; None where nothing is left that holds."""
    done = unseal(progress) if progress.exists() else None
    # What stands behind the last progress is half a batch, or a whole one whose progress was not written any more: it
    # is computed again, so it has to go. That also takes care of a torn last line.
    whole = done is not None and done["folder"] == work.path.name and "clock" in done  # an older srd kept no parts
    if done is not None and whole and unsorted.restore(done["rows"]):
        work.clock.carry(done["clock"])
        return {key: done[key] for key in ("items", "batch_sequences", "counts")}
    if progress.exists():
        say(f"{work.node}  what a killed run left of {unsorted.path.name} is damaged; made anew")
    elif unsorted.path.exists():
        say(f"{work.node}  nothing vouches for what a killed run left of {unsorted.path.name}; made anew")
    remove(progress)
    remove(unsorted.path)
    return None
