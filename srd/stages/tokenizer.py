"""tokenizer: a byte-level BPE trained on the training split, for models that start from nothing."""

from srd.config import Config
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.tokens import train_bpe


def make(cfg: Config, work: Work) -> None:
    assert cfg.model.vocabulary is not None, "the graph makes this node for a trained vocabulary only"
    texts = [
        text
        for sample in read_samples(work, "train")
        for text in (sample.instruction, sample.input, *sample.references)
    ]
    train_bpe(texts, cfg.model.vocabulary).save_pretrained(work.path)
