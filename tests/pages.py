"""Pages of studies that never ran: as many samples and arms as asked for."""

from typing import Any

from srd.report.costs import Cost
from srd.report.explorer import Samples, fitted
from srd.report.figures import Curve, Plane, Point
from srd.report.page import Contents
from srd.report.stats import MeanInterval
from srd.report.verdict import Comparison

HOSTILE = (
    "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\"> & <b>bold</b>"
)
"""What a text of a study may try."""


def contents(pairs: list[tuple[str, str]], held_out: int, arms: list[str], phases: int = 3) -> Contents:
    """A study with these training prompts and references, the last quarter of them dropped. Of a held-out sample number
    i the arm number k scores i % 10 + k, and the student before distillation i % 10."""
    return Contents(
        study="made <i>up</i>",
        verdict=["SRD is 1.00 ROUGE-L above plain on heldout (95 % interval of the difference +0.50 … +1.50)."],
        comparisons=[comparison(arm=arm, other=arms[0], mean=float(k)) for k, arm in enumerate(arms) if k > 0],
        planes=[Plane("heldout", "ROUGE-L", True, [_point(arm, k) for k, arm in enumerate(arms)])],
        curves=[Curve(arm, 1, [50.5], *_curves(k)) for k, arm in enumerate(arms)],
        metric="rouge_l",
        training=_training(pairs, phases),
        held_out=[_held_out(pairs[:held_out], arms)],
        tables={"Scores": (["", "ROUGE-L"], [[arm, "20.00"] for arm in arms]), "The plan": (["stage"], [["distill"]])},
        notes=["A note."],
        artefacts={arms[0]: ["evaluate/0123456789abcdef"]},
    )


def comparison(**changed: Any) -> Comparison:
    """SRD against plain KD, one above it by one for sure, unless changed."""
    values: dict[str, Any] = {
        "arm": "SRD", "other": "plain", "suite": "heldout", "column": "ROUGE-L", "higher_is_better": True, "mean": 1.0,
        "num_runs": 3, "p_holm": 0.01, "detectable": 0.6, "passes": 0.6, "seconds": 0.756, **changed,
    }  # fmt: skip
    return Comparison(**{"low": values["mean"] - 0.5, "high": values["mean"] + 0.5, **values})


def _point(arm: str, number: int) -> Point:
    score = 20.0 + number
    cost = Cost(sample_passes=100 * (number + 1), seconds=10 * (number + 1), flops=1e12)
    return Point(arm, MeanInterval(score, score - 1, score + 1), cost, is_arm=True)


def _curves(number: int) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    return [(step, 3 - step / 100 + number) for step in range(1, 101)], [(50, 10.0 + number), (100, 12.0 + number)]


def _training(pairs: list[tuple[str, str]], phases: int) -> Samples:
    kept, rows = len(pairs) * 3 // 4, []
    for i, (prompt, reference) in enumerate(pairs):
        phase = 1 + i * phases // kept if i < kept else None
        rows.append([f"{i:016x}", prompt, reference, f"answer {i}", phase, i + 1, i % 7, round(i / 9, 3)])
    about = {"arm": "SRD", "columns": ["ROUGE-L", "NLL"], "phases": phases, "answered": True}
    return fitted(Samples(about, rows, len(rows)))


def _held_out(pairs: list[tuple[str, str]], arms: list[str]) -> Samples:
    rows = []
    for i, (prompt, reference) in enumerate(pairs):
        answers = [[i % 10 + k, f"answer {i} of {arm}", i % 10 + k] for k, arm in enumerate(arms)]
        rows.append([f"{i:016x}", prompt, reference, [i % 10, "before", i % 10], *answers])
    scored = [{"name": "student (tiny)", "target": "student"}, *({"name": arm, "target": "distill"} for arm in arms)]
    about = {"suite": "heldout", "column": "ROUGE-L", "higher_is_better": True, "decimals": 2}
    return fitted(Samples(about | {"arms": [each | {"answers": 1} for each in scored]}, rows, len(rows)))
