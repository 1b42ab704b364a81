"""From artefacts to rows of a table: scores with intervals, and what they cost. No number is typed in."""

from collections import ChainMap, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srd.metrics import CRITERIA, METRICS, Metric
from srd.report.costs import Cost, mean_cost, of_arm, of_finetuning
from srd.report.likelihood import (
    PERPLEXITY,
    LikelihoodScore,
    Readings,
    likelihood_score,
    perplexity_difference,
    read_likelihoods,
)
from srd.report.published import published
from srd.report.stats import Difference, MeanInterval, holm
from srd.report.study import Run, headline, in_order, short_fingerprint
from srd.report.values import Values, read_values
from srd.store.manifests import ancestry

TARGETS = ("teacher", "student", "distill")
Key = tuple[str, str, str]
"""Target, arm, suite."""


@dataclass
class Result:
    """One line of the table: a checkpoint on a suite."""

    arm: str
    target: str
    suite: str
    num_runs: int
    num_ids: int
    num_seeds: int
    metric: str
    """What `score`, `differences` and `published` are of: the study's headline, or the perplexity of a suite without
    prompts."""
    score: MeanInterval
    metrics: dict[str, float]
    """Mean of every metric that was scored, scaled as the report shows it."""
    nll: float
    cut_share: float | None
    """None where nothing was answered."""
    mean_tokens: float | None
    cost: Cost
    fingerprints: list[str]
    differences: dict[str, Difference] = field(default_factory=dict)
    published: float | None = None
    likelihood: LikelihoodScore | None = None
    """None where the suite was not read."""
    perplexity_differences: dict[str, Difference] = field(default_factory=dict)
    pass_at: dict[str, MeanInterval] = field(default_factory=dict)
    """pass@k by the title of its column, per cent."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no NaN: what one id says nothing of is null."""
        return asdict(self, dict_factory=lambda pairs: {name: None if each != each else each for name, each in pairs})


@dataclass
class Artefacts:
    """What one row is made of, one artefact a training run each."""

    answers: list[str] = field(default_factory=list)
    likelihoods: list[str] = field(default_factory=list)

    @property
    def every(self) -> list[str]:
        return [*self.answers, *self.likelihoods]


READ_BY = "perplexity"
"""What a row is compared by whose suite has no prompts."""
COMPARED: Mapping[str, Metric] = ChainMap(CRITERIA, {READ_BY: PERPLEXITY})
"""What a row's `metric` may be."""


def results_of(runs: list[Run]) -> list[Result]:
    """Rows of a study: teacher, student before distillation, then the arms, plain ones first.

    `differences` are an arm's headline metric minus that of other arms, paired by training seed, id and sampling seed.
    """
    name, _ = headline(runs)
    by_arm: dict[str, list[Run]] = defaultdict(list)
    for run in in_order(runs):
        by_arm[run.arm].append(run)
    groups, outputs = _groups(runs), runs[0].outputs
    values = {key: read_values(outputs, made.answers) for key, made in groups.items() if made.answers}
    read = {key: read_likelihoods(outputs, made.likelihoods) for key, made in groups.items() if made.likelihoods}
    results = []
    for key, made in groups.items():
        target, arm, suite = key
        cost = _cost(outputs, by_arm[arm] if target == "distill" else [], made.every, target)
        likelihood = likelihood_score(read[key]) if key in read else None
        if key in values:
            result = _result(key, name, values[key], cost, made.every)
            result.likelihood = likelihood
            result.pass_at = values[key].pass_at(sorted({k for run in runs for k in run.pass_at}))
        else:
            assert likelihood is not None, "a row has answers or likelihoods"
            result = _read_result(key, likelihood, cost, made.every)
        result.published = published_score(target, suite, by_arm[arm][:1] if target == "distill" else runs)
        results.append(result)
    _compare(results, values, read, by_arm)
    correct(results)
    return results


def _groups(runs: list[Run]) -> dict[Key, Artefacts]:
    """Artefacts of every row; rows in the order of the table."""
    groups: dict[Key, Artefacts] = defaultdict(Artefacts)
    for run in in_order(runs):
        for target in TARGETS:
            for suite in run.scored(target):
                made = groups[target, run.arm if target == "distill" else _untrained(target, run, suite, runs), suite]
                for found, of_target in ((made.answers, run.evaluations), (made.likelihoods, run.likelihoods)):
                    artefact = of_target.get(target, {}).get(suite)
                    if artefact is not None and artefact not in found:
                        found.append(artefact)
    return {key: groups[key] for key in sorted(groups, key=lambda key: TARGETS.index(key[0]))}


def _untrained(target: str, run: Run, suite: str, runs: list[Run]) -> str:
    """Name of a teacher's or untrained student's row; with its fingerprint where the study has several of that
    model."""
    name = f"{target} ({run.model})"
    peers = {other.scored(target).get(suite) for other in runs if other.model == run.model} - {None}
    return f"{name} {short_fingerprint(run.scored(target)[suite])}" if len(peers) > 1 else name


def _cost(outputs: Path, arm: list[Run], artefacts: list[str], target: str) -> Cost:
    """Of everything an arm needs beyond what all arms share; of a teacher or untrained student, its fine-tuning."""
    if target == "distill":
        return mean_cost([of_arm(run.lineage) for run in arm])
    return mean_cost([of_finetuning(ancestry(outputs, artefact), target) for artefact in artefacts])


def _result(key: Key, name: str, values: Values, cost: Cost, artefacts: list[str]) -> Result:
    target, arm, suite = key
    num_runs, num_ids, num_seeds = values.by_name[name].shape
    return Result(
        arm=arm,
        target=target,
        suite=suite,
        num_runs=num_runs,
        num_ids=num_ids,
        num_seeds=num_seeds,
        metric=name,
        score=values.interval(name),
        metrics={each: METRICS[each].scale * values.mean(each) for each in METRICS if each in values.by_name},
        nll=values.mean("nll"),
        cut_share=values.mean("cut"),
        mean_tokens=values.mean("tokens"),
        cost=cost,
        fingerprints=artefacts,
    )


def _read_result(key: Key, likelihood: LikelihoodScore, cost: Cost, artefacts: list[str]) -> Result:
    """The row of a suite that was read and not answered."""
    target, arm, suite = key
    return Result(
        arm=arm,
        target=target,
        suite=suite,
        num_runs=likelihood.num_runs,
        num_ids=likelihood.num_ids,
        num_seeds=1,
        metric=READ_BY,
        score=likelihood.perplexity,
        metrics={},
        nll=likelihood.nll,
        cut_share=None,
        mean_tokens=None,
        cost=cost,
        fingerprints=artefacts,
        likelihood=likelihood,
    )


def _compare(
    results: list[Result], values: dict[Key, Values], read: dict[Key, Readings], by_arm: dict[str, list[Run]]
) -> None:
    """Fill in the paired differences of every arm to the arms it names, on the same suite, seeds and ids."""
    distilled = {(result.arm, result.suite): result for result in results if result.target == "distill"}
    seeds = {arm: [run.seed for run in runs] for arm, runs in by_arm.items()}
    for result in distilled.values():
        for other in by_arm[result.arm][0].versus or _plain(result.arm, by_arm):
            theirs = distilled.get((other, result.suite))
            if theirs is None or theirs is result or seeds[other] != seeds[result.arm]:
                continue
            ours, peer = (("distill", arm, result.suite) for arm in (result.arm, other))
            if ours in values and peer in values:
                _compare_answers(result, other, values[ours], values[peer])
            if ours in read and peer in read:
                perplexity = perplexity_difference(read[ours], read[peer])
                found = result.differences if ours not in values else result.perplexity_differences
                found |= {other: perplexity} if perplexity is not None else {}


def _compare_answers(result: Result, other: str, ours: Values, peer: Values) -> None:
    found = ours.difference(peer, result.metric)
    if found is not None:
        result.differences[other] = found.times(COMPARED[result.metric].scale)


def correct(results: list[Result]) -> None:
    """Fill in `p_holm` of all comparisons that are made of one metric, whatever their suites."""
    made: dict[str, list[tuple[dict[str, Difference], str]]] = defaultdict(list)
    for result in results:
        for metric, found in ((result.metric, result.differences), (READ_BY, result.perplexity_differences)):
            made[metric] += [(found, other) for other in found]
    for comparisons in made.values():
        corrected = holm([found[other].p for found, other in comparisons])
        for (found, other), p_holm in zip(comparisons, corrected, strict=True):
            found[other] = replace(found[other], p_holm=p_holm)


def _plain(arm: str, by_arm: dict[str, list[Run]]) -> list[str]:
    """The plain arm to compare with where none is named: of the same method and seeds, else of the same seeds."""
    seeds, method = [run.seed for run in by_arm[arm]], by_arm[arm][0].method
    plain = [other for other, runs in by_arm.items() if not runs[0].curated and [run.seed for run in runs] == seeds]
    best = sorted(plain, key=lambda other: by_arm[other][0].method != method)[:1]
    return [] if best == [arm] else best


def published_score(target: str, suite: str, runs: list[Run]) -> float | None:
    """The published score that an arm names, or of the teacher in the table that its students name."""
    if target == "student":
        return None
    for name in (run.published for run in runs if run.published is not None):
        table, _, row = name.partition("/")
        scores = published()[table]["rows"].get("teacher" if target == "teacher" else row, {})
        if suite in scores:
            return scores[suite]
    return None
