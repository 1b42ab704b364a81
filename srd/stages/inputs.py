"""What stages read from the artefacts before them: samples, the tokenizer, a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srd.config import Pair
from srd.errors import UserError
from srd.metrics.bert import Embedder
from srd.store.artefacts import Work
from srd.store.rows import Sample, first_row, read_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from srd.models.load import Size


def read_samples(work: Work[Any, Any], split: str) -> list[Sample]:
    """The samples of one split of a stage's `samples` input; none is a `UserError`."""
    path = Path(work.inputs["samples"]) / "samples.jsonl"
    samples = [sample for sample in read_rows(path, Sample) if sample.split == split]
    if not samples:
        raise UserError(f"{path}: no {split} samples; use more data or set dataset.{split}_samples")
    return samples


@dataclass(frozen=True)
class Loaded:
    """A role's model with the tokenizer that it shares with the other one."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"

    @property
    def vocabulary(self) -> int:
        """Classes that are tokens; a model may have more rows."""
        return len(self.tokenizer)

    @property
    def pad_id(self) -> int:
        from srd.text.encoding import pad_id

        return pad_id(self.tokenizer)

    @property
    def parameters(self) -> "Size":
        """How many there are, by the tokens that go through them."""
        from srd.models.load import size_of

        return size_of(self.model)


def read_model(work: Work[Any, Pair], role: str, identity: Mapping[str, Any]) -> Loaded:
    """The model of a role, newest weights first among the stage's inputs; `identity` is the stage's setting that says
    which weights it starts from. It has been tried on the first sample, and knows what ends an answer."""
    with work.clock.part("model loading"):
        return _read_model(work, role, identity)


def _read_model(work: Work[Any, Pair], role: str, identity: Mapping[str, Any]) -> Loaded:
    from srd.generation.answers import tell_stops
    from srd.models.load import check_kind, load_model, load_tokenizer
    from srd.models.trial import try_out
    from srd.text.clock import today
    from srd.text.encoding import Encoder

    tokenizer = load_tokenizer(work.context, work.inputs)
    encoder = Encoder(tokenizer, work.settings.text)
    if encoder.chat is not None and encoder.chat.reads_clock and work.settings.text.date is None:
        raise UserError(
            f"model.date=null: the chat template of {tokenizer.name_or_path} reads the date, and prompts with it; "
            f"set model.date={today()}"
        )
    model = load_model(work.context, role, work.inputs, tokenizer, work.engine, identity.get("seed"))
    check_kind(model, role, work.settings.text.encoder_decoder)
    sample = first_row(work.inputs["samples"] / "samples.jsonl", Sample)
    try_out(model, encoder.encode(sample), role)
    tell_stops(model, tokenizer, encoder.end)
    return Loaded(model, tokenizer)


def embedder_of(work: Work[Any, Pair], identity: dict[str, Any] | None) -> Embedder | None:
    """What a stage reads answers with, where a metric does."""
    if identity is None:
        return None
    assert work.context.encoder is not None, "what has an identity lies somewhere"
    from srd.models.device import device

    return Embedder(work.context.encoder, identity["revision"], identity["layer"], str(device(work.engine)))
