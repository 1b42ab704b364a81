"""Prompt templates: a sample's text as the model sees it, up to where the response begins."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from srd.store.rows import Sample


_PREAMBLE = "Below is an instruction that describes a task"


_TASK = "Write a response that appropriately completes the request.\n\n"


def alpaca(sample: "Sample", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The Alpaca template, with its input block where the sample has an input (SRD's non-Qwen models)."""
    if not sample.input:
        return f"{_PREAMBLE}. {_TASK}### Instruction:\n{sample.instruction}\n\n### Response:\n"
    return (
        f"{_PREAMBLE}, paired with an input that provides further context. {_TASK}"
        f"### Instruction:\n{sample.instruction}\n\n### Input:\n{sample.input}\n\n### Response:\n"
    )


def chat(sample: "Sample", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The tokenizer's own chat template around one user turn, with a system turn where the sample has one."""
    from srd.text.chat import Chat

    return Chat(tokenizer).prompt(sample)


def plain(sample: "Sample", tokenizer: "PreTrainedTokenizerBase") -> str:
    """Instruction, input and a line that ends in an arrow: short prompts for small models."""
    return "\n".join(part for part in (sample.instruction, sample.input) if part) + "\n=>\n"


def prefix(sample: "Sample", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The instruction as a prefix of the input, nothing else: how T5 was told its tasks (Raffel et al. 2020, section
    2.4), as in "summarize: TEXT"."""
    return " ".join(part for part in (sample.instruction, sample.input) if part)


TEMPLATES: dict[str, Callable[["Sample", "PreTrainedTokenizerBase"], str]] = {
    "alpaca": alpaca,
    "chat": chat,
    "plain": plain,
    "prefix": prefix,
}
