"""Control tokens: ids that a template puts into a prompt and no text may spell.

A data set may well write `<eos>` or `<|im_end|>` as text. A tokenizer turns that into the token, wherever it stands.
Where it does, the text is encoded by a copy of the tokenizer in which control tokens have other names: the template's
are written by those, and what the user spelt is text like any other.
"""

import copy
import json
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from srd.errors import UserError

Ids = Callable[[str], list[int]]
"""From a text as it stands to its ids, nothing added."""
LETTER = "\U00012039"
"""A cuneiform sign: a letter without case, so that no normaliser changes a name made of it."""
MARK = "\U0001203a"
"""Another, for what stands in the place of spelt text while a template is rendered."""


class Control:
    """The control tokens of a tokenizer: its special ones, and added ones that the template writes (`more`)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, more: set[int] = frozenset()) -> None:  # pyright: ignore[reportArgumentType]
        self.tokenizer = tokenizer
        added = {token.content: id for id, token in tokenizer.added_tokens_decoder.items()}
        special = {content: id for content, id in added.items() if tokenizer.added_tokens_decoder[id].special}
        names, ids = tokenizer.all_special_tokens, tokenizer.all_special_ids
        special |= {str(token): id for token, id in zip(names, ids, strict=True)}
        self.by_name = special | {content: id for content, id in added.items() if id in more}
        # The longest first, as tokenizers match them.
        self.names = sorted((name for name in self.by_name if name.strip()), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, self.names)) or r"(?!)")
        # Text in letters that the tokenizer has not seen becomes the unknown token without spelling it.
        unknown: Any = tokenizer.unk_token_id
        self.ids = {self.by_name[name] for name in self.names} - {unknown}

    def is_spelt(self, text: str) -> bool:
        """Whether a text has the name of a control token in it."""
        return self.pattern.search(text) is not None

    def count(self, ids: list[int]) -> int:
        return sum(id in self.ids for id in ids)

    def marked(self, text: str) -> str:
        """A user's text with a mark in place of every control token that it spells."""
        # A mark that the text has itself is marked too, so that all marks come in pairs.
        pattern = re.compile(f"{MARK}|{self.pattern.pattern}")
        return pattern.sub(lambda found: f"{MARK}{[MARK, *self.names].index(found[0])}{MARK}", text)

    def ids_of_marked(self, text: str) -> list[int]:
        """Ids of a rendered text: its control tokens are those of the template, its marks what the user spelt."""
        renamed = self.pattern.sub(lambda found: _alias(self.by_name[found[0]]), text)
        count = len(self.pattern.findall(text))
        names = [MARK, *self.names]
        spelt = re.sub(f"{MARK}([0-9]+){MARK}", lambda found: names[int(found[1])], renamed)
        ids = self._renamed(spelt)
        if len([id for id in ids if id in self.ids]) > count:
            raise UserError(
                f"tokenizer of {self.tokenizer.name_or_path}: the text {spelt[:60]!r} spells a control token, and this "
                "tokenizer has no other way to write it; take it out of the data"
            )
        return ids

    @cached_property
    def _renamed(self) -> Ids:
        """The tokenizer with its control tokens under other names."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        return self._fast(backend) if isinstance(backend, Tokenizer) else self._slow()

    def _fast(self, backend: Tokenizer) -> Ids:
        settings = json.loads(backend.to_str())
        settings["truncation"] = settings["padding"] = settings["post_processor"] = None
        for token in settings["added_tokens"]:
            token["content"] = self._new_name(token["content"])
        model = settings["model"]
        if isinstance(model.get("vocab"), dict):
            model["vocab"] = {self._new_name(name): id for name, id in model["vocab"].items()}
        elif isinstance(model.get("vocab"), list):
            model["vocab"] = [[self._new_name(name), *score] for name, *score in model["vocab"]]
        if isinstance(model.get("unk_token"), str):
            model["unk_token"] = self._new_name(model["unk_token"])
        made = Tokenizer.from_str(json.dumps(settings))
        moved = [name for name in self.names if made.token_to_id(self._new_name(name)) != self.by_name[name]]
        assert not moved, f"the copy of the tokenizer has other ids for {moved}"
        return lambda text: made.encode(text, add_special_tokens=False).ids

    def _slow(self) -> Ids:
        """A tokenizer in Python keeps its added tokens in tables of its own."""
        made: Any = copy.deepcopy(self.tokenizer)
        for id, token in made._added_tokens_decoder.items():
            token.content = self._new_name(token.content)
            made._added_tokens_decoder[id] = token
        made._added_tokens_encoder = {token.content: id for id, token in made._added_tokens_decoder.items()}
        made.tokens_trie = type(made.tokens_trie)()
        for content in made._added_tokens_encoder:
            made.tokens_trie.add(content)
        # The names of its special tokens are looked for besides; only the renamed ones are to be found.
        made._special_tokens_map = {}
        made._extra_special_tokens = []
        return lambda text: made.convert_tokens_to_ids(made.tokenize(text))

    def _new_name(self, name: str) -> str:
        return _alias(self.by_name[name]) if name in self.by_name and name.strip() else name


def _alias(id: int) -> str:
    return f"{LETTER}{id}{LETTER}"
