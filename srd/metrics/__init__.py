"""Scores of an answer, by name. One line adds a metric: evaluation, report, dev criterion and ranking read it here."""

from collections.abc import Callable
from dataclasses import dataclass

from srd.metrics.matching import exact_match
from srd.metrics.rouge import rouge_l
from srd.store.rows import Sample


@dataclass(frozen=True)
class Metric:
    """A score of one answer, and how the report shows it."""

    function: Callable[..., float]
    """From the answer and what the metric `needs` of the sample to a number."""
    column: str
    """Its title in tables."""
    higher_is_better: bool = True
    needs: tuple[str, ...] = ("references",)
    """What it is given of the sample, after the answer: `references`, `instruction`, `input`."""
    scale: float = 100
    """Factor in tables: shares are shown as per cent."""
    decimals: int = 2
    """Digits in tables."""

    def __call__(self, answer: str, sample: Sample) -> float:
        """The score of an answer to a sample's prompt, unscaled."""
        return self.function(answer, *(getattr(sample, name) for name in self.needs))

    def shown(self, value: float) -> str:
        """A scaled value as a table shows it."""
        return f"{value:.{self.decimals}f}"

    def is_better(self, score: float, than: float | None) -> bool:
        """Whether a score is better than another, or the first one."""
        if than is None:
            return True
        return score > than if self.higher_is_better else score < than


METRICS = {"rouge_l": Metric(rouge_l, "ROUGE-L"), "exact_match": Metric(exact_match, "EM", decimals=1)}
"""Metrics by name, in the order of their columns."""


def metrics_of(answer: str, sample: Sample, names: tuple[str, ...] | None = None) -> dict[str, float]:
    """Every metric (or those named) of an answer to a sample's prompt, unscaled."""
    return {name: METRICS[name](answer, sample) for name in (METRICS if names is None else names)}
