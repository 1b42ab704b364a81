"""Tokenizers of many kinds, made on the spot, with chat templates as they are in use."""

from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.small import texts

CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<|im_start|>", "<|im_end|>", "<|eot|>"]
TEMPLATES = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "llama3": (
        "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}<|im_end|>\n\n"
        "{{ m['content'] | trim }}<|eot|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant<|im_end|>\n\n{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for m in messages %}<|im_start|>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ m['content'] | trim }}<|eot|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}"
        "{% else %} [ASK] {{ m['content'] }} [DONE]{% endif %}{% endfor %}"
    ),
    "llama2": (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + 'ask ' + m['content'] | trim + ' done' }}"
        "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "vicuna": (
        "{% for m in messages %}{% if m['role'] == 'user' %}user: {{ m['content'] }} {% else %}"
        "helper: {{ m['content'] }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}helper:{% endif %}"
    ),
}
"""Chat templates by the family that has one like it."""
ENDS = {
    "chatml": "<|im_end|>", "llama3": "<|eot|>", "gemma": "<|eot|>", "mistral": "<eos>", "llama2": "<eos>",
    "vicuna": "<eos>",
}  # fmt: skip
"""What each puts behind an answer; EOS where it puts no token of its own."""


def _trained(model: Any, trainer: Any, **parts: Any) -> Tokenizer:
    made = Tokenizer(model)
    for name, part in parts.items():
        setattr(made, name, part)
    made.train_from_iterator(
        [*texts(), "user: helper: [ASK] [DONE] answer system model assistant\n done < e o s > |"], trainer
    )
    return made


def _options(**more: Any) -> dict[str, Any]:
    return {"special_tokens": CONTROL, "show_progress": False, **more}


def byte_bpe() -> Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=420, **_options(initial_alphabet=alphabet)),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=decoders.ByteLevel(),
    )


def metaspace_bpe() -> Tokenizer:
    """As Llama 2's: a prefix in the normaliser, no pre-tokeniser."""
    return _trained(
        models.BPE(unk_token="<unk>", fuse_unk=True),
        trainers.BpeTrainer(vocab_size=420, **_options()),
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
    )


def first_metaspace_bpe() -> Tokenizer:
    """As newer Llama tokenizers: a prefix at the very beginning alone."""
    return _trained(
        models.BPE(unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=420, **_options()),
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first"),
        decoder=decoders.Metaspace(prepend_scheme="first"),
    )


def unigram() -> Tokenizer:
    """As SentencePiece's: its vocabulary holds the control tokens with the best score of all."""
    return _trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=300, **_options(unk_token="<unk>")),
        pre_tokenizer=pre_tokenizers.Metaspace(),
        decoder=decoders.Metaspace(),
    )


def word_piece() -> Tokenizer:
    return _trained(
        models.WordPiece(unk_token="<unk>"),
        trainers.WordPieceTrainer(vocab_size=420, **_options()),
        normalizer=normalizers.BertNormalizer(lowercase=True),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(),
    )


def word_level() -> Tokenizer:
    """Words between spaces: one that spells a control token is looked up whole."""
    return _trained(
        models.WordLevel(unk_token="<unk>"),
        trainers.WordLevelTrainer(vocab_size=4000, **_options()),
        pre_tokenizer=pre_tokenizers.WhitespaceSplit(),
    )


FAST: dict[str, Callable[[], Tokenizer]] = {
    made.__name__: made for made in (byte_bpe, metaspace_bpe, first_metaspace_bpe, unigram, word_piece, word_level)
}


def slow() -> PreTrainedTokenizerBase:
    """A tokenizer in Python: bytes."""
    return ByT5Tokenizer(eos_token="<eos>", pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", extra_ids=0,
                         additional_special_tokens=CONTROL[4:])  # fmt: skip


KINDS = (*FAST, "slow")


def tokenizer(kind: str, template: str = "chatml", begin: bool = True, end: bool = False) -> PreTrainedTokenizerBase:
    """A tokenizer of a kind with a chat template; its own call puts BOS before a text, or EOS behind it."""
    if kind == "slow":
        made = slow()
    else:
        fast = FAST[kind]()
        frame = f"{'<bos> ' if begin else ''}$A{' <eos>' if end else ''}"
        marks = [(name, CONTROL.index(name)) for name in ("<bos>", "<eos>")]
        fast.post_processor = processors.TemplateProcessing(single=frame, special_tokens=marks)
        made = PreTrainedTokenizerFast(
            tokenizer_object=fast, eos_token="<eos>", pad_token="<pad>", bos_token="<bos>", unk_token="<unk>"
        )
        made.add_special_tokens({"additional_special_tokens": CONTROL[4:]})
    made.chat_template = TEMPLATES[template]
    return made
