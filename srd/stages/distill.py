"""distill: the student learns from the teacher, phase after phase; the best weights by the dev split are kept."""

from dataclasses import dataclass, field, replace
from typing import Any

from srd.config import Code, Corpus, Distill, Generation, Lora, Method, Pair, Positions, StudentData, Text
from srd.distillation.cached import CachedTeacher
from srd.distillation.choosing import Chooser
from srd.distillation.loss import reference_loss
from srd.distillation.objective import objective
from srd.distillation.schedules import PhaseLoss, schedule
from srd.distillation.teacher import OnlineTeacher, TeacherSignal
from srd.errors import UserError
from srd.generation.answerer import answer
from srd.models.checkpoints import save_model, trainable
from srd.models.device import device
from srd.models.load import size_of
from srd.runtime import processes
from srd.runtime.loggers import logger
from srd.runtime.progress import bar, say
from srd.stages.costs import distillation_ledger
from srd.stages.inputs import Loaded, embedder_of, read_model, read_samples
from srd.store.artefacts import Work
from srd.store.rows import Answered, Phase, read_rows
from srd.text.encoding import Encoded, encode_all, longest_first
from srd.training.corpus import corpus_rows, read_corpus
from srd.training.loop import Training
from srd.training.model_selection import DevSet, ModelSelection
from srd.training.order import PhaseWork, num_steps
from srd.training.state import TrainingState
from srd.training.step import AuxiliaryLoss
from srd.training.student_data import StudentResponses


@dataclass
class Decoding:
    """How dev prompts are answered."""

    generation: Generation
    seeds: list[int]
    """One seed."""
    code: Code | None = None
    """How answers are executed, where the metric that chooses does."""
    encoder: dict[str, Any] | None = None
    """Identity of what they are read with, where the metric that chooses does."""


@dataclass
class Settings:
    """What decides the distilled student."""

    text: Text
    student: dict[str, Any]
    """Identity of its weights before any training."""
    recipe: Distill
    dev: Decoding | None = None
    """Where the metric that chooses the best weights is one of answers."""
    lora: Lora = field(default_factory=Lora)
    merge: bool = False
    """Leave the best weights whole, with the adapter folded in."""
    order: str = "shuffled"
    """Order inside an epoch: shuffled or kept."""
    method: Method = field(default_factory=lambda: Method(divergence=None))
    """The divergence, its parameters and k of τ^k; without one the loss is the cross-entropy."""
    positions: Positions | None = None
    """Which positions the divergence is taken at; none: at all of them."""
    schedule: list[dict[str, Any]] | None = None
    """τ and α of every phase."""
    student_data: StudentData = field(default_factory=StudentData)
    corpus: Corpus = field(default_factory=Corpus)
    """Auxiliary text, its path replaced by what is in it."""
    teacher: dict[str, Any] | None = None
    """Identity of the weights of a teacher that is not on disk."""


Distillation = Work[Settings, Pair]


def make(work: Distillation) -> None:
    """Leave `phase-0/ …`, `best/`, `metrics.jsonl` and `dev.jsonl`."""
    settings, loaded = work.settings, read_model(work, "student", work.settings.student)
    _leave_base(work, loaded)
    student = trainable(loaded.model, settings.lora, settings.recipe.seed)
    teacher = _teacher(work, loaded.vocabulary)
    chooser = _chooser(work, loaded.vocabulary, teacher)
    phases = _phases(work, loaded, teacher, chooser)
    steps = num_steps([len(phase.rows) for phase in phases], settings.recipe)
    on_policy = _on_policy(work, student, loaded, phases, steps)
    with logger(work.logger, str(work.node), work.outputs) as log:
        training = Training(
            student,
            settings.recipe,
            work.engine,
            work.path,
            loaded.pad_id,
            log,
            restarts=settings.recipe.course == "restart",
            on_policy=on_policy,
            auxiliary=_auxiliary(work, loaded),
            clock=work.clock,
            chooser=chooser,
        )
        dev = _dev_set(work, loaded)
        selection = ModelSelection(training.state, dev, work.engine, settings.recipe, len(phases))
        selection.begin()
        with bar("distill, tokens", *training.tokens(phases, dev.num_tokens)) as advance:
            training.train(phases, advance, selection.end_epoch, selection.end_phase, dev.num_tokens)
    if settings.merge:
        _fold_adapter(work, training.state, loaded)
    work.leaves |= {"best", "metrics.jsonl", "dev.jsonl", *(f"phase-{number}" for number in range(len(phases)))}
    online = size_of(teacher.model) if isinstance(teacher, OnlineTeacher) else None
    counters, size = training.state.counters, size_of(student)
    work.ledger |= distillation_ledger(counters, on_policy, size, online, settings.recipe.select_by)
    if chooser is not None:
        work.ledger["chosen_positions"] = chooser.chosen_positions
    work.ledger["best"]["selected_by"] = selection.selected_by


def _leave_base(work: Distillation, loaded: Loaded) -> None:
    """Leave the weights that an adapter is a change of, where it stays one and they are nowhere else: an adapter names
    its base, and must load on it as what was trained."""
    if work.settings.lora.rank > 0 and not work.settings.merge and not loaded.model.name_or_path:
        save_model(loaded.model, loaded.tokenizer, work.path / "base")
        work.leaves.add("base")
        loaded.model.name_or_path = str(work.node.folder(work.outputs) / "base")


def _fold_adapter(work: Distillation, state: TrainingState, loaded: Loaded) -> None:
    """Replace the best adapter by the whole model that it is merged into; a killed run repeats it."""
    best = work.path / "best"
    if processes.is_first() and (best / "adapter_config.json").is_file():
        whole = replace(work, inputs={**work.inputs, "checkpoint": best})
        merged = read_model(whole, "student", work.settings.student).model
        save_model(merged, loaded.tokenizer, state.beside.prepare("best"))
        state.save()


def _teacher(work: Distillation, vocabulary: int) -> TeacherSignal | None:
    """Where the teacher's logits come from; nowhere for a method without a divergence."""
    if work.settings.method.divergence is None:
        return None
    if "cache" in work.inputs:
        return CachedTeacher(work.inputs["cache"], vocabulary, device(work.engine))
    teacher = read_model(work, "teacher", work.settings.teacher or {})
    return OnlineTeacher(teacher.model.requires_grad_(False), vocabulary)


def _chooser(work: Distillation, vocabulary: int, teacher: TeacherSignal | None) -> Chooser | None:
    """Who chooses the positions of every step; nobody where all of them count."""
    positions = work.settings.positions
    if positions is None or teacher is None:
        return None
    return Chooser(positions, teacher, vocabulary, work.engine.loss_positions)


def _phases(
    work: Distillation, loaded: Loaded, teacher: TeacherSignal | None, chooser: Chooser | None
) -> list[PhaseWork]:
    """The samples and the loss of every phase, joined by id."""
    settings, file = work.settings, work.inputs["phases"] / "phases.jsonl"
    by_id = {row.id: row for row in encode_all(read_samples(work, "train"), loaded.tokenizer, settings.text)}
    phases = read_rows(file, Phase)
    unknown = [id for phase in phases for id in phase.ids if id not in by_id]
    if unknown:
        raise UserError(f"{file}: sample {unknown[0]} is not in the training split ({len(unknown)} such)")
    if "answers" in work.inputs:
        answers = read_rows(work.inputs["answers"] / "answers.jsonl", Answered)
        by_id = teacher_responses(by_id, answers, settings.text.max_tokens)
    loss = objective(teacher, settings.method, loaded.vocabulary, work.engine, chooser)
    by_phase = schedule(settings.schedule) if settings.schedule else [lambda share: PhaseLoss()] * len(phases)
    shuffled = settings.order == "shuffled"
    works = []
    for phase, phase_settings in zip(phases, by_phase, strict=True):
        ids = [id for id in (sorted(phase.ids) if shuffled else phase.ids) if id in by_id]
        if not ids:
            raise UserError(
                f"phase {phase.phase + 1}: the teacher answered none of its {len(phase.ids)} prompts; look at its "
                "answers"
            )
        weights = dict(zip(phase.ids, phase.weights or [1.0] * len(phase.ids), strict=True))
        rows = [weighing(by_id[id], weights[id]) for id in ids]
        prefetch = teacher.prefetch if teacher is not None else lambda rows: None
        works.append(PhaseWork(rows, loss, phase_settings, shuffled, prefetch))
    return works


def weighing(row: Encoded, weight: float) -> Encoded:
    """The row with a weight; the same object where it has it already, for phases share their rows."""
    return row if row.weight == weight else replace(row, weight=weight)


def teacher_responses(by_id: dict[str, Encoded], answers: list[Answered], max_tokens: int) -> dict[str, Encoded]:
    """The rows with the teacher's answers in place of their references; empty answers leave the data, with a count.

    A row without an answer is an `AssertionError`: no reference may stand in for one.
    """
    given = {answered.id: answered for answered in answers}
    assert given.keys() == by_id.keys(), "the teacher answers every training prompt"
    spoken = {id: row for id, row in by_id.items() if given[id].response}
    if len(spoken) < len(by_id):
        say(
            f"{len(by_id) - len(spoken)} of {len(by_id)} prompts have an empty answer by the teacher; they are left out"
        )
    return {
        id: replace(row, response=given[id].token_ids[: max_tokens - len(row.prompt)]) for id, row in spoken.items()
    }


def _on_policy(
    work: Distillation, student: Any, loaded: Loaded, phases: list[PhaseWork], steps: int
) -> StudentResponses | None:
    """The data of an on-policy method, written by the student as it is when it is asked."""
    data, settings = work.settings.student_data, work.settings
    if data.share == 0 and not data.adaptive:
        return None

    def write(rows: list[Encoded], seeds: list[int]) -> list[list[int]]:
        return [a.ids for a in answer(student, rows, loaded.tokenizer, data.generation, seeds, work.engine)]

    rows = [row for phase in phases for row in phase.rows]
    return StudentResponses(write, data, rows, settings.recipe.seed, steps, settings.text.max_tokens)


def _auxiliary(work: Distillation, loaded: Loaded) -> AuxiliaryLoss | None:
    """The auxiliary language-modelling loss, where one is asked for."""
    corpus, settings = work.settings.corpus, work.settings
    if corpus.path is None:
        return None
    rows = read_corpus(str(work.context.corpus), loaded.tokenizer, settings.text.max_tokens)
    loss = reference_loss(loaded.vocabulary, work.engine)
    size, seed = corpus.batch_sequences, settings.recipe.seed
    return AuxiliaryLoss(lambda step: corpus_rows(rows, size, seed, step), loss, corpus.weight)


def _dev_set(work: Distillation, loaded: Loaded) -> DevSet:
    settings = work.settings
    samples = read_samples(work, "dev")[: settings.recipe.dev_samples]
    pairs = longest_first(samples, loaded.tokenizer, settings.text)
    if settings.dev is None:
        return DevSet(pairs, loaded.tokenizer, None, 0)
    dev, embedder = settings.dev, embedder_of(work, settings.dev.encoder)
    return DevSet(pairs, loaded.tokenizer, dev.generation, dev.seeds[0], dev.code, embedder)
