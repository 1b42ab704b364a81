"""Lists of turns, as OpenAI (`messages`: role, content) and ShareGPT (`conversations`: from, value) write them.

A sample is one question and its answer: of a longer conversation the first exchange is read, and a system turn before
it goes along. What begins otherwise is refused.
"""

from dataclasses import dataclass
from typing import Any

from srd.errors import UserError

LISTS = ("messages", "conversations", "conversation")
"""Columns that hold a list of turns."""
ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "bot": "assistant",
}  # fmt: skip
"""Who speaks, by the names that are in use."""


@dataclass(frozen=True)
class Exchange:
    """The first question of a conversation and its answer."""

    question: str
    answer: str
    system: str
    is_longer: bool


def first_exchange(turns: list[Any], where: str) -> Exchange:
    """The first exchange of a list of turns; a list that does not begin with one is a `UserError`."""
    spoken = [_turn(turn, f"{where}[{number}]") for number, turn in enumerate(turns)]
    head = 1 if spoken and spoken[0][0] == "system" else 0
    roles = [role for role, _ in spoken[head : head + 2]]
    if roles != ["user", "assistant"]:
        found = ", ".join(role for role, _ in spoken[:3]) or "nothing"
        raise UserError(
            f"{where}: begins with {found}; expected a question by the user and the assistant's answer (after a system "
            "turn, if any); mend or drop the row"
        )
    question, answer = (text for _, text in spoken[head : head + 2])
    return Exchange(question, answer, spoken[0][1] if head else "", len(spoken) > head + 2)


def _turn(turn: Any, where: str) -> tuple[str, str]:
    """Role and text of a turn."""
    if not isinstance(turn, dict):
        raise UserError(f"{where} is {turn!r:.60}: expected an object with role and content, or from and value")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if role not in ROLES:
        raise UserError(f"{where}: role {role!r:.40}; expected one of {', '.join(ROLES)}; mend or drop the row")
    if any(turn.get(key) for key in ("tool_calls", "function_call")):
        raise UserError(f"{where}: a call of a tool, which is not read; drop the row")
    return ROLES[role], _content(content, where)


def _content(content: Any, where: str) -> str:
    """The text of a turn, which may come in parts."""
    parts = content if isinstance(content, list) else [content]
    said = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part for part in parts]
    texts = [text for text in said if isinstance(text, str)]
    if not texts or len(texts) < len(said):
        raise UserError(f"{where}: content {content!r:.60}: expected text; mend or drop the row")
    return "".join(texts)
