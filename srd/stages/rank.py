"""rank: signals to an order of difficulty."""

from dataclasses import dataclass

from srd.errors import UserError
from srd.metrics import BLIND
from srd.runtime.progress import say
from srd.selection.ranking import SIGNALS, difficulties, rank
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.columns import read_columns, write_columns
from srd.store.manifests import read_manifest


@dataclass
class Settings:
    """What decides the order."""

    signals: list[str]
    rrf_k: float
    seed: int = 0
    """Of the signal `random`."""


def make(work: Work[Settings, None]) -> None:
    """Leave `ranking.jsonl`, easiest first."""
    settings, signals = work.settings, work.settings.signals
    if "reflections" in work.inputs:
        signals = _seeing(settings.signals, read_manifest(work.inputs["reflections"])["ledger"]["blind"])
    samples = read_samples(work, "train") if "samples" in work.inputs else []
    kinds = {"id": str, **{signal: float for signal in settings.signals if SIGNALS[signal].is_reflected}}
    reflections = (
        read_columns(work.inputs["reflections"] / "reflections.jsonl", kinds) if "reflections" in work.inputs else {}
    )
    values = difficulties(signals, samples, reflections, settings.seed)
    write_columns(work.path / "ranking.jsonl", rank(values, settings.rrf_k))


def _seeing(signals: list[str], share_by_metric: dict[str, float]) -> list[str]:
    """The signals that tell the samples apart; says which of several does not, and none is a `UserError`."""
    shares = {name: share_by_metric.get(SIGNALS[name].metric or "", 0.0) for name in signals}
    blind = [name for name, share in shares.items() if share >= BLIND]
    if not blind:
        return signals
    seen = ", ".join(f"{name} sees nothing in {100 * shares[name]:.0f} % of the references" for name in blind)
    if len(blind) == len(signals):
        raise UserError(f"rank.signals={signals}: {seen}; expected a signal that can tell samples apart, such as nll")
    say(f"rank: {seen}; {', '.join(name for name in signals if name not in blind)} alone orders the samples")
    return [name for name in signals if name not in blind]
