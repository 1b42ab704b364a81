"""tokenizer: a byte-level BPE trained on the training split, for models that start from nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.files import disk_errors


@dataclass
class Settings:
    """What decides the tokenizer."""

    vocabulary: int


def make(work: Work[Settings, None]) -> None:
    """Leave the tokenizer in Hugging Face format."""
    texts = [
        text
        for sample in read_samples(work, "train")
        for text in (sample.instruction, sample.input, *sample.references)
    ]
    with disk_errors(work.path):
        written = train_bpe(texts, work.settings.vocabulary).save_pretrained(work.path)
    work.leaves |= {Path(name).name for name in written}


def train_bpe(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE of `vocabulary` tokens with `<pad>` and `<eos>`; the same for the same texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>", pad_token="<pad>")
