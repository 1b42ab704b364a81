"""distill: the student learns from the teacher, phase after phase; the best weights by dev ROUGE-L are kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.config import Config
from srd.distillation.hidden import CachedTeacher
from srd.distillation.loss import objective, reference_loss
from srd.distillation.schedules import PhaseLoss, schedule
from srd.distillation.teacher import OnlineTeacher, TeacherSignal
from srd.errors import UserError
from srd.generation.answerer import answer
from srd.models.checkpoints import fold_adapter, trainable
from srd.models.device import device
from srd.models.load import load_model, load_tokenizer
from srd.runtime import processes
from srd.runtime.loggers import logger
from srd.runtime.progress import bar, say
from srd.stages.costs import distillation_ledger
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.store.rows import Answered, Phase, Sample, read_rows
from srd.text.encoding import Encoded, encode_all, longest_first, pad_id
from srd.training.corpus import corpus_rows, read_corpus
from srd.training.loop import Training
from srd.training.model_selection import ModelSelection
from srd.training.order import PhaseWork, num_steps
from srd.training.state import SCRATCH
from srd.training.step import AuxiliaryLoss
from srd.training.student_data import StudentResponses


def make(cfg: Config, work: Work) -> None:
    tokenizer = load_tokenizer(cfg, work.inputs)
    student = trainable(load_model(cfg, "student", work.inputs, tokenizer), cfg.model.student, cfg.distill.seed)
    teacher = (
        load_model(cfg, "teacher", work.inputs, tokenizer)
        if cfg.method.divergence is not None and not cfg.caches_teacher
        else None
    )
    phases = _phases(cfg, work, _signal(cfg, work, teacher, len(tokenizer)), tokenizer)
    steps = num_steps([len(phase.rows) for phase in phases], cfg.distill)
    on_policy = student_rows(cfg, student, phases, tokenizer, steps) if cfg.method.is_on_policy else None
    with logger(cfg.logger, str(work.node), Path(cfg.outputs)) as log:
        training = Training(
            student,
            cfg.distill,
            cfg.engine,
            work.path,
            pad_id(tokenizer),
            log,
            restarts=cfg.distill.course == "restart",
            on_policy=on_policy,
            auxiliary=_corpus(cfg, tokenizer),
        )
        selection = ModelSelection(
            cfg, work.path, training, tokenizer, longest_first(_dev_samples(cfg, work), tokenizer, cfg.model), on_policy
        )
        selection.begin()
        with bar("distill", steps, training.state.counters.step) as advance:
            training.train(phases, advance, selection.end_epoch, selection.end_phase)
    work.scratch |= SCRATCH
    if cfg.model.student.lora.rank > 0 and cfg.model.student.lora.merge and processes.is_first():
        best = work.path / "best"
        fold_adapter(
            best, tokenizer, lambda: load_model(cfg, "student", {**work.inputs, "checkpoint": best}, tokenizer)
        )
    work.ledger |= distillation_ledger(training, on_policy, student, teacher)


def student_rows(
    cfg: Config, student: Any, phases: list[PhaseWork], tokenizer: PreTrainedTokenizerBase, steps: int
) -> StudentResponses:
    """The on_policy of an on-policy method, answering with the student as it is when it is asked."""

    def write(rows: list[Encoded], seeds: list[int]) -> list[list[int]]:
        return [
            given.ids
            for given in answer(student, rows, tokenizer, cfg.method.student_data.generation, seeds, cfg.engine)
        ]

    rows = [row for phase in phases for row in phase.rows]
    return StudentResponses(write, cfg.method.student_data, rows, cfg.distill.seed, steps, cfg.model.max_tokens)


def _signal(cfg: Config, work: Work, teacher: PreTrainedModel | None, vocabulary: int) -> TeacherSignal | None:
    """Where the teacher's logits come from; nowhere for a method without a divergence."""
    if "cache" in work.inputs:
        return CachedTeacher(work.inputs["cache"], vocabulary, device(cfg.engine))
    return None if teacher is None else OnlineTeacher(teacher.requires_grad_(False), vocabulary)


def _phases(
    cfg: Config, work: Work, teacher: TeacherSignal | None, tokenizer: PreTrainedTokenizerBase
) -> list[PhaseWork]:
    """The samples and the loss of every phase, joined by id."""
    by_id = {row.id: row for row in encode_all(read_samples(work, "train"), tokenizer, cfg.model)}
    phases = read_rows(work.inputs["phases"] / "phases.jsonl", Phase)
    unknown = [id for phase in phases for id in phase.ids if id not in by_id]
    if unknown:
        raise UserError(
            f"{work.inputs['phases'] / 'phases.jsonl'}: sample {unknown[0]} is not in the training split "
            f"({len(unknown)} such)"
        )
    if "answers" in work.inputs:
        by_id = teacher_responses(
            by_id, read_rows(work.inputs["answers"] / "answers.jsonl", Answered), cfg.model.max_tokens
        )
    loss = objective(teacher, cfg.method, len(tokenizer), cfg.engine)
    settings = schedule(cfg.schedule, len(phases)) if teacher is not None else [lambda share: PhaseLoss()] * len(phases)
    shuffled = cfg.curriculum.order == "shuffled"
    prefetch = teacher.prefetch if teacher is not None else lambda rows: None
    works = []
    for phase, of_phase in zip(phases, settings, strict=True):
        ids = [id for id in (sorted(phase.ids) if shuffled else phase.ids) if id in by_id]
        if not ids:
            raise UserError(
                f"phase {phase.phase + 1}: the teacher answered none of its {len(phase.ids)} prompts; look at its "
                "answers"
            )
        works.append(PhaseWork([by_id[id] for id in ids], loss, of_phase, shuffled, prefetch))
    return works


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


def _corpus(cfg: Config, tokenizer: PreTrainedTokenizerBase) -> AuxiliaryLoss | None:
    """The auxiliary language-modelling loss, where one is asked for."""
    corpus = cfg.method.corpus
    if corpus.path is None:
        return None
    rows = read_corpus(corpus, tokenizer, cfg.model.max_tokens)
    objective = reference_loss(len(tokenizer), cfg.engine)
    return AuxiliaryLoss(
        lambda step: corpus_rows(rows, corpus.batch_sequences, cfg.distill.seed, step), objective, corpus.weight
    )


def _dev_samples(cfg: Config, work: Work) -> list[Sample]:
    return read_samples(work, "dev")[: cfg.distill.dev_samples]
