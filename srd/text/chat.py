"""The tokenizer's own chat template: its prompts, and how it ends an answer."""

import re
from datetime import date
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from srd.config import Text
from srd.errors import UserError, first_line, nearest
from srd.store.rows import Sample
from srd.text.clock import CLOCK, reads_clock, today

USER, ANSWER, SYSTEM = "Qjxz user", "Qjxz answer", "Qjxz system"
"""Texts that no template has of its own, to see where it puts each."""
BROKEN: tuple[type[Exception], ...] = (
    chat_template_utils.jinja2.exceptions.TemplateError,  # pyright: ignore
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a template may fail with: it is a program that came with the tokenizer."""
OURS = {"conversation", "messages", "add_generation_prompt", "continue_final_message", "tokenize", "chat_template"}
"""What `srd` itself tells a template."""


class Chat:
    """A tokenizer's chat template with its arguments and its date.

    A template that fails, refuses the turns or leaves a text out is a `UserError`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: Text | None = None) -> None:
        self.tokenizer = tokenizer
        self.arguments: dict[str, Any] = dict(text.template_arguments) if text is not None else {}
        if getattr(tokenizer, "chat_template", None) is None:
            raise UserError(
                "model.template=chat: the tokenizer has no chat template; use model.template=alpaca or plain"
            )
        try:
            self.source = str(tokenizer.get_chat_template())
            compiled: Any = chat_template_utils._compile_jinja_template(self.source)
        except BROKEN as error:
            raise self._broken(error) from None
        self._check_arguments()
        self.reads_clock = reads_clock(self.source)
        if self.reads_clock:
            # transformers keeps the compiled template, so that this is what `apply_chat_template` runs; its arguments
            # cannot carry a function.
            day = date.fromisoformat((text.date if text is not None else None) or today())
            compiled.globals[CLOCK] = day.strftime

    def prompt(self, sample: Sample) -> str:
        """A sample's system text, if any, and its user turn, up to where the answer begins."""
        text = f"{sample.instruction}\n\n{sample.input}" if sample.input else sample.instruction
        return self._render(_turns(sample.system, text), add_generation_prompt=True)

    def check(self, system: bool) -> None:
        """A `UserError` for a template that leaves the user's text out, or a `system` text where samples have one."""
        rendered = self._render(_turns(SYSTEM if system else "", USER), add_generation_prompt=True)
        for what, text in (("user", USER), *((("system", SYSTEM),) if system else ())):
            if text not in rendered:
                raise UserError(
                    f"model.template=chat: the chat template of {self._name} leaves out the {what} text; "
                    "use model.template=alpaca or plain, or another tokenizer"
                )

    def turn_end(self) -> int | None:
        """The token that the template puts right behind an answer, white space aside; none where it puts none."""
        rendered = self._render([*_turns("", USER), {"role": "assistant", "content": ANSWER}])
        _, found, rest = rendered.rpartition(ANSWER)
        ends = {token.content: id for id, token in self.tokenizer.added_tokens_decoder.items() if token.content.strip()}
        here = [content for content in ends if found and rest.lstrip().startswith(content)]
        return ends[max(here, key=len)] if here else None

    @property
    def _name(self) -> str:
        return str(self.tokenizer.name_or_path or "the tokenizer")

    def _render(self, turns: list[dict[str, str]], **options: bool) -> str:
        try:
            rendered = self.tokenizer.apply_chat_template(turns, tokenize=False, **options, **self.arguments)
        except BROKEN as error:
            raise self._broken(error) from None
        return str(rendered)

    def _broken(self, error: Exception) -> UserError:
        return UserError(
            f"model.template=chat: the chat template of {self._name} cannot be used ({first_line(error)}); "
            "mend it, set model.template_arguments, or use model.template=alpaca or plain"
        )

    def _check_arguments(self) -> None:
        """A `UserError` for an argument that the template does not read, or that is not for the user to set."""
        words = set(re.findall(r"[A-Za-z_]\w*", self.source))
        for name in self.arguments:
            if name in OURS or name not in words:
                close = nearest(name, words - OURS).partition("choices:")[0]
                raise UserError(
                    f"model.template_arguments.{name}={self.arguments[name]}: the chat template of {self._name} reads "
                    f"no such argument; {close or 'leave it out'}".strip()
                )


def _turns(system: str, user: str) -> list[dict[str, str]]:
    head = [{"role": "system", "content": system}] if system else []
    return [*head, {"role": "user", "content": user}]
