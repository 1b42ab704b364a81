"""Text to ids and back: the only place that knows where prompts end and responses begin."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from srd.config import Text
from srd.errors import UserError
from srd.runtime.progress import say_once
from srd.store.rows import Sample
from srd.text.chat import Chat
from srd.text.clock import today
from srd.text.control import Control, Ids
from srd.text.prompts import TEMPLATES

NEUTRAL = Sample("", "x", "", "x", "train")
"""A sample that spells nothing, to see what a template has of its own."""


@dataclass(frozen=True)
class Encoded:
    """A sample as ids: the response ends as its template ends a turn, unless the length limit cut it."""

    id: str
    prompt: list[int]
    response: list[int]
    prompt_was_cut: bool
    by_student: bool = False
    """Whether the student wrote the response: no reference then, so no cross-entropy."""
    response_was_cut: bool = False
    unlearned: tuple[int, ...] = ()
    """Where in the response tokens are not supervised."""
    weight: float = 1.0
    """What the loss of each of its positions is multiplied by."""

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.response)

    @property
    def num_supervised(self) -> int:
        """Supervised positions: tokens of the response that are learned."""
        return len(self.response) - len(self.unlearned)


class Encoder:
    """From samples to ids, by one tokenizer and one template.

    Prompt and response are tokenised as one text where the boundary survives that, else apart, so that a generated
    answer always continues exactly these prompt ids. A prompt begins with what the tokenizer puts before a text (BOS),
    once, whether or not the template writes it. Control tokens are the template's alone.

    Of an encoder-decoder model both are texts of their own, and a prompt is what `tokenizer(text)` gives: it ends with
    what the tokenizer puts behind a text (T5: </s>).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: Text) -> None:
        self.tokenizer = tokenizer
        self.text = text
        self.chat = Chat(tokenizer, text) if text.template == "chat" else None
        self.end = turn_end(tokenizer, self.chat)
        self.opening, closing = frame(tokenizer)
        self.closing = closing if text.encoder_decoder else []
        neutral = encode_text(self._render(NEUTRAL), tokenizer)
        written = {id for id in neutral if id in tokenizer.added_tokens_decoder}
        self.control = Control(tokenizer, written | ({self.end} if self.chat else set()))
        self.frames: dict[tuple[bool, bool], int] = {}
        """Control tokens of a prompt, by whether it has an input and a system text."""

    def encode(self, sample: Sample) -> Encoded:
        """The ids of a sample's prompt and of its (first) reference with the end of the turn; of a window its own.

        Of a prompt over `max_prompt_tokens` the opening and the tail stay, with the end of the template; of an
        encoder's the beginning and the closing, as the tokenizer's own truncation has it.
        """
        if sample.ids is not None:
            return window(sample.id, sample.ids, sample.borders or [])
        prompt_ids, response_ids = self._ids(sample)
        opened, rest = self._opened(prompt_ids)
        over = max(0, len(opened) + len(rest) + len(self.closing) - self.text.max_prompt_tokens)
        stays = rest[: max(0, len(rest) - over)] if self.text.encoder_decoder else rest[over:]
        kept = [*opened, *stays, *self.closing]
        whole = [*response_ids, self.end]
        room = max(0, self.text.max_tokens - len(kept))
        return Encoded(sample.id, kept, whole[:room], over > 0, response_was_cut=len(whole) > room)

    def _ids(self, sample: Sample) -> tuple[list[int], list[int]]:
        """Ids of the prompt and of the response, whatever they spell."""
        if sample.system and self.chat is None:
            raise UserError(
                f"model.template={self.text.template}: it has no place for the system text of sample {sample.id} "
                f"({sample.system[:40]!r}); use model.template=chat or take it out of the data"
            )
        response = sample.references[0]
        texts, written = (sample.instruction, sample.input, sample.system, response), self._frame(sample)
        both = _apart if self.text.encoder_decoder else _joined
        if not any(map(self.control.is_spelt, texts)):
            prompt_ids, response_ids = both(self._render(sample), response, self._plain)
            # What a normaliser makes of a text may be a control token as well.
            if self.control.count(prompt_ids) == written and not self.control.count(response_ids):
                return prompt_ids, response_ids
        marked = self.control.marked
        spelt = replace(
            sample, instruction=marked(sample.instruction), input=marked(sample.input), system=marked(sample.system)
        )
        return both(self._render(spelt), marked(response), self.control.ids_of_marked)

    def _opened(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """The opening of a prompt, and what follows: the template's own, or the tokenizer's."""
        count, bos = len(self.opening), self.tokenizer.bos_token_id
        if count and ids[:count] == self.opening:
            return ids[:count], ids[count:]
        if bos is not None and ids[:1] == [bos]:
            return ids[:1], ids[1:]
        return self.opening, ids

    def _frame(self, sample: Sample) -> int:
        """Control tokens that the template writes around a sample."""
        key = bool(sample.input), bool(sample.system)
        if key not in self.frames:
            if self.chat is not None:
                self.chat.check(system=bool(sample.system))
            neutral = replace(NEUTRAL, input="x" if sample.input else "", system="x" if sample.system else "")
            self.frames[key] = self.control.count(self._plain(self._render(neutral)))
        return self.frames[key]

    def _render(self, sample: Sample) -> str:
        if self.chat is not None:
            return self.chat.prompt(sample)
        return TEMPLATES[self.text.template](sample, self.tokenizer)

    def _plain(self, text: str) -> list[int]:
        return encode_text(text, self.tokenizer)


def window(id: str, ids: list[int], borders: list[int]) -> Encoded:
    """A window of tokens: the first one is its prompt, and all others but those at `borders` are learned."""
    return Encoded(id, ids[:1], ids[1:], False, unlearned=tuple(place - 1 for place in borders))


def _joined(prompt: str, response: str, ids: Ids) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of the response behind it: of both as one text, or apart where a token spans the two."""
    prompt_ids, joint_ids = ids(prompt), ids(prompt + response)
    joins = joint_ids[: len(prompt_ids)] == prompt_ids
    return prompt_ids, joint_ids[len(prompt_ids) :] if joins else ids(response)


def _apart(prompt: str, response: str, ids: Ids) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of a response, each a text of its own."""
    return ids(prompt), ids(response)


def encode(sample: Sample, tokenizer: PreTrainedTokenizerBase, text: Text) -> Encoded:
    """One sample as ids; an `Encoder` does many faster."""
    return Encoder(tokenizer, text).encode(sample)


def text_encoder(tokenizer: PreTrainedTokenizerBase) -> Ids:
    """From a text without a template to its ids, in which no control token comes from what the text spells."""
    control = Control(tokenizer)

    def ids(text: str) -> list[int]:
        plain = encode_text(text, tokenizer)
        return control.ids_of_marked(control.marked(text)) if control.is_spelt(text) or control.count(plain) else plain

    return ids


def encode_all(samples: Iterable[Sample], tokenizer: PreTrainedTokenizerBase, text: Text) -> list[Encoded]:
    """Every sample encoded; says once how many prompts and responses were over the limit."""
    encoder = Encoder(tokenizer, text)
    if encoder.chat is not None and encoder.chat.reads_clock:
        day = text.date or today()
        say_once(
            f"the chat template reads the date, which is {day} in this run; model.date={day} keeps it on other days"
        )
    rows = [encoder.encode(sample) for sample in samples]
    prompts = sum(row.prompt_was_cut for row in rows)
    if prompts:
        end = "first" if text.encoder_decoder else "last"
        say_once(
            f"{prompts} of {len(rows)} prompts are over model.max_prompt_tokens={text.max_prompt_tokens}; "
            f"their {end} tokens are kept"
        )
    responses = sum(row.response_was_cut for row in rows)
    if responses:
        say_once(
            f"{responses} of {len(rows)} responses are cut, and lose the end of their turn: with their prompts they "
            f"are over model.max_tokens={text.max_tokens}"
        )
    return rows


def longest_first(
    samples: list[Sample], tokenizer: PreTrainedTokenizerBase, text: Text
) -> list[tuple[Sample, Encoded]]:
    """Samples with their ids, longest prompt first, so that prompts answered together are of like length."""
    pairs = zip(samples, encode_all(samples, tokenizer, text), strict=True)
    return sorted(pairs, key=lambda pair: (-len(pair[1].prompt), pair[0].id))


def turn_end(tokenizer: PreTrainedTokenizerBase, chat: Chat | None) -> int:
    """The id that every response is trained to end with: what the chat template puts behind an answer where that is a
    token of its own, else EOS."""
    end = chat.turn_end() if chat is not None else None
    return eos_id(tokenizer) if end is None else end


def opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer's own call puts before a text: BOS, or nothing."""
    return frame(tokenizer)[0]


def frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer's own call puts before a text (BOS, or nothing), and behind it (EOS, or nothing)."""
    framed, bare = tokenizer("x")["input_ids"], encode_text("x", tokenizer)
    for start in range(len(framed) - len(bare) + 1):  # pyright: ignore[reportArgumentType]
        end = start + len(bare)
        if framed[start:end] == bare:  # pyright: ignore[reportIndexIssue]
            return list(framed[:start]), list(framed[end:])  # pyright: ignore[reportIndexIssue, reportArgumentType]
    raise UserError(
        f"tokenizer of {tokenizer.name_or_path}: it reads a text differently beside its special tokens, so a prompt "
        "has no sure beginning; use another tokenizer"
    )


def eos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The tokenizer's end-of-sequence id."""
    if tokenizer.eos_token_id is None:
        raise UserError(f"tokenizer of {tokenizer.name_or_path}: no EOS token; add one to its tokenizer_config.json")
    return int(tokenizer.eos_token_id)  # pyright: ignore[reportArgumentType]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """An id to fill with; EOS where there is none, which is safe because masks never look at ids."""
    return int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else eos_id(tokenizer)  # pyright: ignore[reportArgumentType]


def text_of(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of an answer, without special tokens and outer white space."""
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()


def encode_text(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of a text as it stands, without special tokens around it."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportReturnType]
