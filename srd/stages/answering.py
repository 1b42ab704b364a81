"""What reflection, the teacher's answers and the evaluation have in common: prompts answered in blocks, to rows on
disk."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from srd.config import Generation, Text
from srd.generation.answerer import Answerer, answerer
from srd.stages.inputs import Loaded
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick, block, fill
from srd.text.encoding import Encoded

Asked = TypeVar("Asked")


class Decodes(Protocol):
    """Settings of a stage that answers."""

    text: Text
    generation: Generation


def fill_answers(
    work: Work[Any, Any],
    name: str,
    loaded: Loaded,
    asked: list[Asked],
    row_of: Callable[[Asked], Encoded],
    compute: Callable[[Answerer, list[Asked], Tick], tuple[list[Any], Counts]],
    key: Callable[[dict[str, Any]], Any] = lambda row: row["id"],
    answers: int = 1,
) -> None:
    """Leave `name`: the rows that `compute` makes of what is `asked`, given who answers (see `partial.fill`), so many
    `answers` each."""
    settings: Decodes = work.settings
    max_tokens = settings.text.max_prompt_tokens + settings.generation.max_new_tokens
    with answerer(loaded.model, loaded.tokenizer, work.engine, max_tokens) as answer:
        fill(
            work,
            name,
            asked,
            max(1, block(work.engine) // answers),
            lambda batch, tick: compute(answer, batch, tick),
            key,
            lambda each: row_of(each).num_tokens,
        )
