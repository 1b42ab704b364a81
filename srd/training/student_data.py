"""Student-generated data: responses that the student writes while it learns, in place of references.

GKD (arXiv 2306.13649, algorithm 1), ImitKD (Lin et al. 2020) and DistiLLM (arXiv 2402.03898, section 4)
differ in how often the student writes, and in what is used again. Whether a step does, whose responses
it replays and what each row draws depend on (seed, step) alone, never on the process or what came before.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from srd.config import StudentData
from srd.text.encoding import Encoded

DECISION, REPLAY, RESPONSE = 101, 102, 103
"""Third words of the seeds, so that no two draws of a step share a stream."""


Write = Callable[[list[Encoded], list[int]], list[list[int]]]
"""Responses (ids with EOS) to the prompts of rows, each from its own seed."""


class StudentResponses:
    """The `OnPolicyData` of on-policy methods; prompts stay, responses become the student's."""

    def __init__(
        self, write: Write, settings: StudentData, rows: list[Encoded], seed: int, total_steps: int, max_tokens: int
    ) -> None:
        self.write = write
        self.settings = settings
        self.seed = seed
        self.total_steps = total_steps
        self.max_tokens = max_tokens
        self.by_id = {row.id: row for row in rows}
        self.steps_ahead = settings.every_steps
        self.share = settings.share
        self.dev_loss_mark: float | None = None
        self.generated_tokens = 0
        self.window: dict[int, list[Encoded]] = {}
        """Rows of the steps that have been decided and are still to come, by step."""
        self.replay: deque[Encoded] = deque(maxlen=settings.replay_capacity)

    def rows(self, step: int, upcoming: list[list[Encoded]]) -> list[Encoded]:
        """The rows of `step`: fresh responses, replayed ones, or the references of `upcoming[0]`."""
        if step not in self.window:
            self._write_ahead(step, upcoming)
        return self.window.pop(step)

    def observe(self, dev_loss: float) -> None:
        """Raise the share when the dev loss (nats per token) has grown by the margin since it was last taken as the
        measure."""
        settings = self.settings
        if self.dev_loss_mark is None:
            self.dev_loss_mark = dev_loss
        elif settings.adaptive and dev_loss >= self.dev_loss_mark + settings.loss_margin:
            self.share = min(1.0, self.share + settings.share_step)
            self.dev_loss_mark = dev_loss

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON can hold it; rows are their ids, with the response where the student wrote
        it."""
        return {
            "share": self.share,
            "dev_loss_mark": self.dev_loss_mark,
            "generated_tokens": self.generated_tokens,
            "replay": [_dump(row) for row in self.replay],
            "window": {step: [_dump(row) for row in rows] for step, rows in self.window.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.share = state["share"]
        self.dev_loss_mark = state["dev_loss_mark"]
        self.generated_tokens = state["generated_tokens"]
        self.replay = deque((self._load(row) for row in state["replay"]), self.settings.replay_capacity)
        self.window = {int(step): [self._load(row) for row in rows] for step, rows in state["window"].items()}

    def _write_ahead(self, step: int, upcoming: list[list[Encoded]]) -> None:
        """Decide and fill the steps from `step` on; all fresh responses are written together, with the weights of
        now."""
        steps = range(step, step + len(upcoming))
        kinds = self._kinds(step, upcoming)
        rows_of = {number: upcoming[number - step] for number in steps if kinds[number] == "fresh"}
        fresh = [(number, self._asked(row)) for number, rows in rows_of.items() for row in rows]
        seeds = [_stream(self.seed, number) for number, _ in fresh]
        responses = self.write([row for _, row in fresh], seeds) if fresh else []
        self.window = {number: [] for number in steps}
        for (number, row), response in zip(fresh, responses, strict=True):
            self.generated_tokens += len(response)
            room = self.max_tokens - len(row.prompt)
            self.window[number].append(_written(row, response[:room]))
        # In the order of the steps: one that replays may draw what an earlier one of this window has written.
        for number in steps:
            references = upcoming[number - step]
            if kinds[number] == "fresh":
                self.replay.extend(self.window[number])
            elif kinds[number] == "replay":
                self.window[number] = self._again(number, len(references))
            else:
                self.window[number] = references

    def _kinds(self, step: int, upcoming: list[list[Encoded]]) -> dict[int, str]:
        """Whose responses each step from `step` on has."""
        kinds: dict[int, str] = {}
        # Rows that earlier steps of the window will have written count as if they were in the buffer already: a step's
        # kind must not depend on how many steps are decided together.
        planned = 0
        for number, rows in enumerate(upcoming, start=step):
            kinds[number] = self._kind(number, planned)
            if kinds[number] == "fresh":
                planned += len(rows)
        return kinds

    def _kind(self, step: int, planned: int) -> str:
        """Whose responses a step has; the replay buffer is filled before it is used."""
        settings = self.settings
        writes, anew = np.random.default_rng([self.seed, step, DECISION]).random(2)
        if writes >= self.share:
            return "references"
        if settings.replay_capacity == 0 or len(self.replay) + planned < settings.replay_capacity:
            return "fresh"
        done = step / max(1, self.total_steps - 1)
        fresh_share = {"constant": 0.5, "decreasing": 1 - done, "increasing": done}[settings.fresh]
        return "fresh" if anew < fresh_share else "replay"

    def _again(self, step: int, count: int) -> list[Encoded]:
        """A seeded choice from the replay buffer."""
        chosen = np.random.default_rng([self.seed, step, REPLAY]).choice(len(self.replay), size=count, replace=False)
        return [self.replay[i] for i in chosen]

    def _load(self, dumped: list[Any]) -> Encoded:
        id, response = dumped
        row = self.by_id[id]
        return row if response is None else _written(self._asked(row), response)

    def _asked(self, row: Encoded) -> Encoded:
        """The row with the prompt that the student answers: its own, or the beginning of a window of text."""
        count = self.settings.prompt_tokens
        return row if count is None else replace(row, prompt=(row.prompt + row.response)[:count])


def _written(asked: Encoded, response: list[int]) -> Encoded:
    """The student's response to a prompt, every token of which is supervised."""
    return replace(asked, response=response, by_student=True, unlearned=())


def _dump(row: Encoded) -> list[Any]:
    return [row.id, row.response if row.by_student else None]


def _stream(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step, RESPONSE]).generate_state(1, np.uint64)[0])
