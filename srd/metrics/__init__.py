"""Scores of an answer, by name. One line adds a metric: evaluation, report, dev criterion and ranking read it here."""

from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from srd.config import Code
from srd.errors import UserError
from srd.metrics.bert import Embedder, bert_score
from srd.metrics.code import checks_of, passes
from srd.metrics.matching import exact_match
from srd.metrics.maths import check_maths, math_exact
from srd.metrics.rouge import rouge_l, rouge_sees
from srd.metrics.summaries import rouge_1, rouge_2, rouge_lsum
from srd.metrics.translation import OfCorpus, bleu, bleu_sees, chrf, of_corpus
from srd.runtime.progress import say
from srd.store.rows import Sample


@dataclass(frozen=True)
class Metric:
    """A score of one answer, and how the report shows it."""

    function: Callable[..., float] | None
    """From the answer and what the metric `needs` of the sample to a number; none: no answer is needed, or `executed`
    it is."""
    column: str
    """Its title in tables."""
    higher_is_better: bool = True
    needs: tuple[str, ...] = ("references",)
    """What it is given of the sample, after the answer: `references`, `instruction`, `input`."""
    scale: float = 100
    """Factor in tables: shares are shown as per cent."""
    decimals: int = 2
    """Digits in tables."""
    executed: Callable[[Sequence[str], Sequence[Sample], Code], list[float]] | None = None
    """In place of a function: of many answers with their samples, by running the code in them."""
    read: Callable[[Sequence[str], Sequence[Sample], Embedder], list[float]] | None = None
    """In place of a function: of many answers with their samples, by a model that reads them."""
    check: Callable[[Sample], object] | None = None
    """A `UserError` for a sample that it cannot score; none: it can score any."""
    is_binary: bool = False
    """Whether it says of an answer that it is right (1) or not (0), and nothing between: a verifier."""
    sees: Callable[[list[str]], bool] = lambda references: True
    """Whether it can tell answers apart by these references."""
    counts: str = ""
    """What it looks at, where there are references in which it sees nothing."""
    corpus: OfCorpus | None = None
    """How the report takes it of all answers together; none: as the mean over them."""
    package: tuple[str, str] | None = None
    """The module that computes it, and the extra of `srd` that installs it; none: `srd` itself does."""

    def __call__(self, answer: str, sample: Sample) -> float:
        """The score of an answer to a sample's prompt, unscaled."""
        assert self.function is not None, f"{self.column} is not of an answer"
        return self.function(answer, *(getattr(sample, name) for name in self.needs))

    def shown(self, value: float) -> str:
        """A scaled value as a table shows it."""
        return f"{value:.{self.decimals}f}"

    def is_better(self, score: float, than: float | None) -> bool:
        """Whether a score is better than another, or the first one."""
        if than is None:
            return True
        return score > than if self.higher_is_better else score < than


BLIND = 0.5
"""From this share of samples on which it sees nothing, a metric decides nothing."""
LATIN_WORDS = "words of a-z and 0-9"
ROUGE_SCORE, SACREBLEU = ("rouge_score", "summarisation"), ("sacrebleu", "translation")
METRICS = {
    "rouge_l": Metric(rouge_l, "ROUGE-L", sees=rouge_sees, counts=LATIN_WORDS),
    "exact_match": Metric(exact_match, "EM", decimals=1, is_binary=True),
    "code_passes": Metric(
        None, "pass@1", needs=("tests",), executed=passes, check=checks_of, decimals=1, is_binary=True
    ),
    "rouge_1": Metric(rouge_1, "ROUGE-1", sees=rouge_sees, counts=LATIN_WORDS, package=ROUGE_SCORE),
    "rouge_2": Metric(rouge_2, "ROUGE-2", sees=rouge_sees, counts=LATIN_WORDS, package=ROUGE_SCORE),
    "rouge_lsum": Metric(rouge_lsum, "ROUGE-Lsum", sees=rouge_sees, counts=LATIN_WORDS, package=ROUGE_SCORE),
    "bleu": Metric(
        bleu, "BLEU", sees=bleu_sees, counts="words between spaces", corpus=of_corpus("bleu"), package=SACREBLEU
    ),
    "chrf": Metric(chrf, "chrF", corpus=of_corpus("chrf"), package=SACREBLEU),
    "math_exact": Metric(
        math_exact, "maths", check=check_maths, decimals=1, is_binary=True, package=("math_verify", "maths")
    ),
    "bert_score": Metric(None, "BERTScore", read=bert_score),
}
"""Metrics by name, in the order of their columns."""
NLL = "nll"
"""The loss on the references, nats a token: what chooses where nothing is answered."""
CRITERIA = ChainMap(METRICS, {NLL: Metric(None, "NLL", higher_is_better=False, scale=1, decimals=3)})
"""What may choose the best weights and head a report."""


def dev_column(name: str) -> str:
    """Where `dev.jsonl` has a criterion."""
    return "dev/loss_nats" if name == NLL else f"dev/{name}"


def executing(names: Iterable[str]) -> list[str]:
    """Those of the metrics that execute the answers."""
    return [name for name in names if name in METRICS and METRICS[name].executed is not None]


def check_installed(name: str, key: str) -> None:
    """A `UserError` for a metric whose package is not there; `key` is where it is named."""
    package = METRICS[name].package
    if package is not None and find_spec(package[0]) is None:
        raise UserError(
            f"{key}={name}: the package {package[0]} is not installed; run `pip install 'srd[{package[1]}]'`"
        )


def corpus_sums(answer: str, sample: Sample, names: Iterable[str]) -> dict[str, list[float]] | None:
    """What an answer adds to those of the metrics that are taken of a corpus; none where none is."""
    found = {
        name: corpus.sums(answer, sample.references) for name in names if (corpus := METRICS[name].corpus) is not None
    }
    return found or None


def metrics_of(answer: str, sample: Sample, names: Sequence[str]) -> dict[str, float]:
    """The metrics named of an answer to a sample's prompt, unscaled; none of those that execute it."""
    return {name: METRICS[name](answer, sample) for name in names}


def metrics_of_all(
    answers: Sequence[str],
    samples: Sequence[Sample],
    names: Sequence[str],
    code: Code | None,
    embedder: Embedder | None = None,
) -> list[dict[str, float]]:
    """The metrics named of every answer to its sample's prompt, unscaled; `code` where one executes the answers, and
    the `embedder` where one reads them."""
    columns: dict[str, list[float]] = {}
    for name in executing(names):
        executed = METRICS[name].executed
        assert executed is not None
        assert code is not None, "who executes code says how"
        columns[name] = executed(answers, samples, code)
    for name in names:
        read = METRICS[name].read
        if read is not None:
            assert embedder is not None, "who reads is told with what"
            columns[name] = read(answers, samples, embedder)
    rows = []
    for number, (answer, sample) in enumerate(zip(answers, samples, strict=True)):
        plain = metrics_of(answer, sample, [name for name in names if name not in columns])
        rows.append({name: columns[name][number] if name in columns else plain[name] for name in names})
    return rows


def graded_title(name: str) -> str:
    """The title of a metric's mean over several answers to a prompt: of a verifier that is the pass rate."""
    return f"pass rate ({METRICS[name].column})" if METRICS[name].is_binary else METRICS[name].column


def blind_share(name: str, samples: Sequence[Sample]) -> float:
    """Share of the samples on whose references a metric sees nothing; more than none is said."""
    blind = sum(not METRICS[name].sees(sample.references) for sample in samples)
    if blind:
        say(
            f"{METRICS[name].column} sees nothing in {blind} of {len(samples)} references "
            f"({100 * blind / len(samples):.0f} %): it counts {METRICS[name].counts}; look at chrf, exact match or the "
            "NLL"
        )
    return blind / len(samples)
