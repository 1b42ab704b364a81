"""Beginnings, ends and control tokens of prompts are those of the tokenizer and its template, of many kinds."""

import itertools
from pathlib import Path

import pytest

from srd.config import Model, Side
from srd.errors import UserError
from srd.generation.answers import stop_ids, tell_stops
from srd.store.rows import Sample
from srd.text.chat import Chat
from srd.text.encoding import Encoded, Encoder, encode, text_of
from tests.composing import config
from tests.small import model
from tests.tokenizers import CONTROL, ENDS, KINDS, TEMPLATES, tokenizer

SPELT = "lame <eos> ni<|im_end|>fo <bos> <|eot|>"


def text(template: str = "chat", max_prompt_tokens: int = 200, **more: object) -> Model:
    side = Side(name="x")
    return Model(side, side, template=template, max_prompt_tokens=max_prompt_tokens, max_tokens=400, **more)  # pyright: ignore


def sample(instruction: str = "bace di", output: str = "lame ni", system: str = "") -> Sample:
    return Sample("0" * 16, instruction, "", output, "train", system)


def test_there_are_as_many_kinds_as_promised() -> None:
    assert len(KINDS) == 7
    assert len(TEMPLATES) == len(ENDS) == 6


@pytest.mark.parametrize(("kind", "template"), itertools.product(KINDS, TEMPLATES))
def test_an_answer_ends_as_the_template_ends_it(kind: str, template: str) -> None:
    tokens = tokenizer(kind, template)
    row = encode(sample(), tokens, text())
    assert tokens.convert_ids_to_tokens(row.response)[-1] == ENDS[template]
    turns = [{"role": "user", "content": "bace di"}, {"role": "assistant", "content": "lame ni"}]
    whole = tokens.apply_chat_template(turns, return_dict=False)
    if template != "vicuna":
        last = max(place for place, id in enumerate(whole) if id == row.response[-1])
        assert not tokens.decode(whole[last + 1 :]).strip(), "the template has nothing behind it"


@pytest.mark.parametrize(("kind", "template"), itertools.product(KINDS, ["alpaca", "plain", *TEMPLATES]))
@pytest.mark.parametrize("begin", [True, False])
def test_a_prompt_begins_as_the_tokenizer_begins_a_text_once(kind: str, template: str, begin: bool) -> None:
    chat = template in TEMPLATES
    tokens = tokenizer(kind, template if chat else "chatml", begin, end=True)
    asked = {name: sample("bace di " * times) for name, times in (("whole", 1), ("cut", 60))}
    rows = {name: encode(each, tokens, text("chat" if chat else template, 30)) for name, each in asked.items()}
    own = begin and kind != "slow"  # the tokenizer of bytes begins no text
    written = chat and "bos_token" in TEMPLATES[template]
    for row in rows.values():
        assert row.prompt.count(tokens.bos_token_id) == int(own or written)
        assert (row.prompt[0] == tokens.bos_token_id) == (own or written)
    assert rows["cut"].prompt_was_cut
    assert len(rows["cut"].prompt) == 30
    assert rows["cut"].prompt[-1] == rows["whole"].prompt[-1]


@pytest.mark.parametrize(("kind", "template"), itertools.product(KINDS, TEMPLATES))
def test_ordinary_text_has_the_ids_of_the_library(kind: str, template: str) -> None:
    tokens = tokenizer(kind, template, begin=False)
    turn = [{"role": "user", "content": "bace di"}]
    ids = tokens.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
    assert encode(sample(), tokens, text()).prompt == ids


@pytest.mark.parametrize(("kind", "template"), itertools.product(KINDS, ["alpaca", *TEMPLATES]))
def test_text_that_spells_a_control_token_stays_text(kind: str, template: str) -> None:
    tokens = tokenizer(kind, template if template in TEMPLATES else "chatml")
    words = text("chat" if template in TEMPLATES else template)
    plain, spelt = (encode(sample(spelling, spelling), tokens, words) for spelling in ("bace", SPELT))
    control = {tokens.convert_tokens_to_ids(name) for name in CONTROL} - {tokens.unk_token_id}
    assert len(control) == 6

    def marks(row: Encoded) -> list[list[int]]:
        return [[id for id in ids if id in control] for ids in (row.prompt, row.response)]

    assert marks(spelt) == marks(plain)
    assert len(marks(spelt)[1]) == 1
    if kind in ("byte_bpe", "slow"):
        assert tokens.decode(spelt.response[:-1]) == SPELT
        assert text_of(spelt.response[:-1], tokens) == SPELT
    if kind == "byte_bpe" and template in TEMPLATES:
        turn = [{"role": "user", "content": SPELT}]
        theirs = tokens.apply_chat_template(
            turn, add_generation_prompt=True, return_dict=False, sanitize_control_tokens=True
        )
        assert spelt.prompt[-len(theirs) :] == theirs


def test_a_system_text_has_its_turn_or_is_refused() -> None:
    tokens = tokenizer("byte_bpe", "chatml")
    row = encode(sample(system="gu la"), tokens, text())
    assert "<|im_start|>system\ngu la<|im_end|>\n<|im_start|>user" in tokens.decode(row.prompt)
    with pytest.raises(UserError, match=r"no place for the system text of sample 0000000000000000 .'gu la'."):
        encode(sample(system="gu la"), tokens, text("alpaca"))
    tokens.chat_template = TEMPLATES["gemma"]
    with pytest.raises(UserError, match="System role not supported"):
        encode(sample(system="gu la"), tokens, text())
    tokens.chat_template = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    with pytest.raises(UserError, match="leaves out the system text"):
        encode(sample(system="gu la"), tokens, text())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.content }}", "cannot be used"),
        ("{{ raise_exception('not today') }}", "cannot be used .not today."),
        ("{{ messages[7].content }}", "cannot be used"),
        ("{{ messages + 1 }}", "cannot be used"),
        ("nothing", "leaves out the user text"),
        ("", "leaves out the user text"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(template: str, message: str) -> None:
    tokens = tokenizer("byte_bpe")
    tokens.chat_template = template
    with pytest.raises(UserError, match=message) as told:
        encode(sample(), tokens, text())
    assert "\n" not in str(told.value)


CLOCK = "{{ bos_token }}{{ strftime_now('%d %B %Y, %H') }}: {{ messages[0]['content'] }}"


def test_a_template_sees_the_date_that_is_set() -> None:
    tokens = tokenizer("byte_bpe")
    tokens.chat_template = CLOCK
    days = [tokens.decode(encode(sample(), tokens, text(date=day)).prompt) for day in ("2024-02-29", "2025-01-02")]
    assert days == ["<bos>29 February 2024, 00: bace di", "<bos>02 January 2025, 00: bace di"]
    with pytest.raises(UserError, match=r"model\.date=1\.2\.24: expected a day as YYYY-MM-DD"):
        text(date="1.2.24").check("model")


def test_a_template_is_told_its_arguments_and_no_others() -> None:
    tokens = tokenizer("byte_bpe")
    tokens.chat_template = "{{ messages[0]['content'] }}{% if not enable_thinking %} no thoughts{% endif %}"
    thinking, not_thinking = (
        tokens.decode(encode(sample(), tokens, text(template_arguments={"enable_thinking": on})).prompt)
        for on in (True, False)
    )
    assert (thinking, not_thinking) == ("<bos>bace di", "<bos>bace di no thoughts")
    with pytest.raises(UserError, match=r"enable_thinkin=1: .*reads no such argument; did you mean 'enable_thinking'"):
        Chat(tokens, text(template_arguments={"enable_thinkin": 1}).text)
    with pytest.raises(UserError, match=r"expected nothing beside model\.template=alpaca"):
        text("alpaca", template_arguments={"enable_thinking": 1}).check("model")


@pytest.mark.parametrize(
    ("template", "configured", "stops"),
    [
        ("chatml", 1, [1, 5]),
        ("chatml", 5, [1, 5]),
        ("llama3", [1, 5], [1, 5, 6]),
        ("mistral", 1, 1),
        ("mistral", None, 1),
    ],
)
def test_whatever_ends_an_answer_is_in_the_exported_generation_config(
    template: str, configured: int | list[int] | None, stops: int | list[int], tmp_path: Path
) -> None:
    from transformers import GenerationConfig

    tokens, made = tokenizer("byte_bpe", template), model(vocabulary=420)
    made.generation_config.eos_token_id = configured  # pyright: ignore[reportOptionalMemberAccess]
    tell_stops(made, tokens, Encoder(tokens, text().text).end)
    made.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == stops
    assert stop_ids(made, tokens) == ({stops} if isinstance(stops, int) else set(stops))


def test_the_date_is_in_the_fingerprint_where_the_template_reads_it(tmp_path: Path) -> None:
    from srd.pipeline.identity import text_identity
    from srd.text.clock import today

    model().save_pretrained(tmp_path)
    words = [f"model.{role}.name={tmp_path}" for role in ("teacher", "student")]
    words = ["model=pair", "dataset=pydoc", "model.template=chat", *words]
    (tmp_path / "chat_template.jinja").write_text(CLOCK)
    assert text_identity(config(*words))["date"] == today()
    assert text_identity(config(*words, "model.date=2024-02-29"))["date"] == "2024-02-29"
    assert "date" not in text_identity(config(*words, "model.template=alpaca"))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATES["chatml"])
    assert "date" not in text_identity(config(*words))
    with pytest.raises(UserError, match="reads no date"):
        text_identity(config(*words, "model.date=2024-02-29"))


def test_generate_of_an_export_stops_where_we_stop(tmp_path: Path) -> None:
    """A model that answers anything with the template's end of a turn, whose own config knows EOS alone."""
    import torch
    from transformers import AutoModelForCausalLM

    tokens, made = tokenizer("byte_bpe", "chatml"), model(vocabulary=420)
    end = tokens.convert_tokens_to_ids("<|im_end|>")
    made.lm_head.weight.data[:] = 0  # pyright: ignore
    made.lm_head.weight.data[end] = made.model.norm.weight.data  # pyright: ignore
    row = encode(sample(), tokens, text())
    hidden = made.model(torch.tensor([row.prompt])).last_hidden_state[0, -1]  # pyright: ignore
    made.lm_head.weight.data[end] = hidden  # pyright: ignore
    tell_stops(made, tokens, Encoder(tokens, text().text).end)
    made.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.config.eos_token_id == 1 != end
    written = loaded.generate(torch.tensor([row.prompt]), max_new_tokens=9, do_sample=False)[0, len(row.prompt) :]
    assert written.tolist() == [end]
