"""The two models, and how the teacher's distribution reaches the loss."""

from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

from srd.config.recipe import Finetune
from srd.errors import MOST, MOST_TOKENS, UserError, require, require_whole

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Types that weights and stored states may have, and the bytes of one number."""
STATE_BYTES = {**DTYPE_BYTES, "float8": 1}
"""Of one number of a stored hidden state."""
SPARSE = ("sampled", "top")
"""Signals that keep some classes of the teacher's distribution."""

ENCODER_DECODERS = ("t5", "mt5", "umt5", "longt5")
"""Kinds of models with an encoder, by their `model_type`."""


@dataclass
class Lora:
    """Low-rank adapters in place of full fine-tuning."""

    rank: int = 0
    """Rank of the update; 0: all weights are trained."""
    alpha: int = 64
    """Scale of the update, divided by the rank."""
    dropout: float = 0.1
    """Dropout on the adapter's input."""
    target_modules: list[str] | None = None
    """Last parts of the names of the layers that get an adapter (q_proj, v_proj); none: all linear layers but the
    head."""
    merge: bool = True
    """Leave the best distilled weights as a whole model with the adapter folded in; false leaves the adapter alone."""

    def check(self, key: str) -> None:
        require_whole(f"{key}.rank", self.rank, 0, MOST_TOKENS, "off")
        require_whole(f"{key}.alpha", self.alpha, 1, MOST)
        require(0 <= self.dropout < 1, f"{key}.dropout", self.dropout, "a probability in [0, 1)")
        require(self.target_modules != [], f"{key}.target_modules", [], "names of layers, or null for all linear ones")


@dataclass
class Weights:
    """Where the weights of one of the two models come from, before any training."""

    name: str | None = None
    """Hub name or local folder of the weights."""
    revision: str | None = None
    """Commit of the hub repository."""
    package: str | None = None
    """Installed Python package that carries `gguf_file`."""
    gguf_file: str | None = None
    """GGUF file with the weights."""
    architecture: dict[str, Any] | None = None
    """Random initial weights: `model_type` and fields of its transformers config."""
    layers: list[int] | None = None
    """Keep these layers of the named weights only, of an encoder-decoder model those of the encoder and of the decoder.
    A table of relative positions that the first layer has for all (T5) goes to the first one kept."""
    decoder_layers: list[int] | None = None
    """Where an encoder-decoder model is to keep other layers of its decoder than of its encoder; none: `layers`."""
    adapter: str | None = None
    """Hub name or folder of a LoRA adapter merged into the weights."""
    dtype: str = "float32"
    """Type of the weights in memory: float32, bfloat16 or float16."""
    trust_remote_code: bool = False
    """Run model code that the hub repository ships."""

    def check(self, key: str) -> None:
        given = [name for name in ("name", "package", "architecture") if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError(
                f"{key}: a side has {' and '.join(given) or 'no weights'}; expected exactly one of name (hub or "
                f"folder), package and architecture, as in {key}.name=FOLDER"
            )
        if self.architecture is not None:
            for name in ("revision", "gguf_file", "layers", "decoder_layers", "adapter"):
                expected = "nothing beside architecture (random weights)"
                require(getattr(self, name) is None, f"{key}.{name}", getattr(self, name), expected)
        goes_with = self.decoder_layers is None or self.layers is not None
        require(goes_with, f"{key}.decoder_layers", self.decoder_layers, f"{key}.layers beside it, the encoder's")
        carried = self.package is None or self.gguf_file is not None
        require(carried, f"{key}.gguf_file", self.gguf_file, "a file inside the package")
        require(self.dtype in DTYPE_BYTES, f"{key}.dtype", self.dtype, "float32, bfloat16 or float16")


@dataclass
class Side(Weights):
    """One of the two models."""

    lora: Lora = field(default_factory=Lora)
    """Train adapters in place of the weights."""
    finetune: Finetune = field(default_factory=Finetune)
    """Supervised fine-tuning of the teacher, or the student's warm start before it reflects."""

    @property
    def weights(self) -> Weights:
        """The side before any training."""
        return Weights(**{field.name: getattr(self, field.name) for field in fields(Weights)})


@dataclass
class Text:
    """What decides, beside the tokenizer, how text becomes tokens."""

    template: str
    """Prompt template, a key of `srd.text.prompts.TEMPLATES`."""
    max_prompt_tokens: int
    """Longest prompt; of a longer one the tail is kept."""
    max_tokens: int
    """Longest prompt and response together."""
    template_arguments: dict[str, Any] = field(default_factory=dict)
    """What the chat template is told besides the turns."""
    date: str | None = None
    """The day that the chat template sees, YYYY-MM-DD; none: it asks for none."""
    tokenizer: Any = None
    """Identity of the tokenizer of given weights; none: a trained one, which is an input."""
    encoder_decoder: bool = False
    """Whether a prompt is the input of an encoder."""


@dataclass(frozen=True)
class Pair:
    """What a stage with a model may know besides its settings, because it changes no result: where the weights lie
    that the settings identify by content, and the longest text of the run, which must fit."""

    teacher: Weights
    """p, before any training."""
    student: Weights
    """q, before any training."""
    longest_tokens: int
    """What `Config.longest_tokens` says."""
    corpus: str | None = None
    """Where the auxiliary text lies."""
    encoder: str | None = None
    """Where the model lies that `bert_score` reads with."""

    def side(self, role: str) -> Weights:
        return self.teacher if role == "teacher" else self.student


@dataclass
class Model:
    """A teacher and a student over one vocabulary."""

    teacher: Side
    """p: the model that is imitated."""
    student: Side
    """q: the model that is trained."""
    name: str = "pair"
    """Name of the pair in tables."""
    vocabulary: int | None = None
    """Train a byte-level BPE of this size on the training split; none: the tokenizer of the weights."""
    template: str = "alpaca"
    """Prompt template, a key of `srd.text.prompts.TEMPLATES`. Its prompts begin with what the tokenizer puts before a
    text (BOS), once, also where the chat template leaves it out."""
    template_arguments: dict[str, Any] = field(default_factory=dict)
    """What the chat template is told besides the turns, such as enable_thinking."""
    date: str | None = None
    """The day that a chat template which asks for it sees, YYYY-MM-DD; none: the day the run begins. A run that is to
    go on another day needs it."""
    encoder_decoder: bool = False
    """Whether both models have an encoder (T5, mT5): it reads the prompt as the tokenizer's own call has it, with what
    that puts behind a text (</s>), and the decoder writes the response, a text of its own."""
    max_prompt_tokens: int = 256
    """Longest prompt; of a longer one BOS and the tail are kept, of a chat prompt without its headers; of an encoder's
    the beginning, and the end that the tokenizer puts behind it."""
    max_tokens: int = 512
    """Longest prompt and response together; a longer response is cut, the end of its turn with it."""

    def side(self, role: str) -> Side:
        return self.teacher if role == "teacher" else self.student

    @property
    def text(self) -> Text:
        """How text becomes tokens for both."""
        return Text(
            self.template,
            self.max_prompt_tokens,
            self.max_tokens,
            template_arguments=self.template_arguments,
            date=self.date,
            encoder_decoder=self.encoder_decoder,
        )

    def check(self, key: str) -> None:
        if self.vocabulary is not None:
            require_whole(f"{key}.vocabulary", self.vocabulary, 300, MOST_TOKENS)
        require_whole(f"{key}.max_tokens", self.max_tokens, 2, MOST_TOKENS)
        expected = f"1 to {self.max_tokens - 1}, less than {key}.max_tokens={self.max_tokens}"
        longest = self.max_prompt_tokens
        require(1 <= longest < self.max_tokens, f"{key}.max_prompt_tokens", longest, expected)
        if self.encoder_decoder:
            expected = "another template (prefix, plain, alpaca): an encoder reads one text and no turns"
            require(self.template != "chat", f"{key}.template", self.template, expected)
        is_chat, beside = self.template == "chat", f"nothing beside {key}.template={self.template}, which"
        expected = f"{beside} takes none; use {key}.template=chat"
        require(is_chat or not self.template_arguments, f"{key}.template_arguments", self.template_arguments, expected)
        require(self.date is None or _is_date(self.date), f"{key}.date", self.date, "a day as YYYY-MM-DD")
        expected = f"{beside} reads no date; use {key}.template=chat"
        require(is_chat or self.date is None, f"{key}.date", self.date, expected)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass
class Teacher:
    """How the teacher's distribution reaches the loss."""

    signal: str = "auto"
    """hidden: last hidden states on disk, made once and shared by all arms; sampled or top: some classes of the
    distribution on disk (`selection.classes`), of the samples that stay; online: a forward pass for every batch; auto:
    hidden where it fits `disk_gb` and the student writes no responses."""
    dtype: str | None = None
    """Type of the stored states: float32, bfloat16, float16 or float8 (with a scale for each position); none: that of
    the teacher's weights, which loses nothing."""
    disk_gb: float = 50.0
    """Largest cache that `auto` makes, 10^9 bytes."""

    def check(self, key: str) -> None:
        signals = ("auto", "hidden", "online", *SPARSE)
        require(self.signal in signals, f"{key}.signal", self.signal, "auto, hidden, online, sampled or top")
        types = "float32, bfloat16, float16, float8 or null"
        require(self.dtype in (None, *STATE_BYTES), f"{key}.dtype", self.dtype, types)
        require(self.disk_gb >= 0, f"{key}.disk_gb", self.disk_gb, "0 or more")
