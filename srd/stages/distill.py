"""distill: the student learns from the teacher, phase after phase; the best weights by dev ROUGE-L are kept."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srd.artefacts import Work
from srd.config import Config, Method
from srd.errors import UserError
from srd.generate import answer
from srd.loggers import LOGGERS
from srd.loss import cross_entropy, divergence_at
from srd.metrics import rouge_l
from srd.models import load_model, load_tokenizer, logits_at, num_parameters, save_model, trainable
from srd.progress import bar, say
from srd.rows import Phase, Sample, read_rows
from srd.schedules import PhaseLoss, schedule
from srd.stages.finetune import reference_loss, training_ledger
from srd.stages.inputs import read_samples
from srd.tokens import Batch, Encoded, encode_all, pad_id
from srd.train import SCRATCH, Objective, PhaseWork, Training, autocast, num_steps


def distillation(teacher: PreTrainedModel, method: Method, phase: PhaseLoss, vocabulary: int) -> Objective:
    """α·CE + (1-α)·τ^k·D(p_τ, q_τ), summed over a batch's supervised positions, with both parts apart (nats)."""

    def objective(student: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = logits_at(student, batch, vocabulary)
        with torch.no_grad():
            teacher_logits = logits_at(teacher, batch, vocabulary)
        kd = divergence_at(
            teacher_logits, logits, str(method.divergence), phase.temperature, method.temperature_power, **method.parameters
        ).sum()
        with torch.set_grad_enabled(phase.sft_weight > 0):
            ce = cross_entropy(logits, batch.targets).sum()
        return {"loss": phase.sft_weight * ce + (1 - phase.sft_weight) * kd, "ce": ce, "kd": kd}

    return objective


def make(cfg: Config, work: Work) -> None:
    tokenizer = load_tokenizer(cfg, work.inputs)
    side, recipe = cfg.model.student, cfg.distill
    student = trainable(load_model(cfg, "student", work.inputs, tokenizer), side, recipe.seed)
    teacher = None if cfg.method.divergence is None else load_model(cfg, "teacher", work.inputs, tokenizer).requires_grad_(False)
    phases = _phases(cfg, work, teacher, tokenizer)
    dev = _dev(cfg, work, tokenizer)
    with LOGGERS[cfg.logger.name](cfg.logger, str(work.node), Path(cfg.outputs)) as log:
        training = Training(student, recipe, cfg.engine, work.path, pad_id(tokenizer), log)

        def end_epoch(phase: int, epoch: int) -> None:
            score = dev_rouge_l(student, dev, tokenizer, cfg)
            c = training.counters
            training.append("dev", {"step": c.step, "phase": phase, "epoch": epoch, "dev/rouge_l": score})
            if score > c.best_rouge_l:
                c.best_rouge_l, c.best_phase, c.best_epoch = score, phase, epoch
                save_model(student, tokenizer, work.path / "best")

        def end_phase(phase: int) -> None:
            save_model(student, tokenizer, work.path / f"phase-{phase}")
            say(f"phase {phase + 1} of {len(phases)} done, best dev ROUGE-L so far {100 * training.counters.best_rouge_l:.2f}")

        with bar("distill", num_steps([len(phase.rows) for phase in phases], recipe), training.counters.step) as advance:
            training.run(phases, advance, end_epoch, end_phase)
    work.scratch |= SCRATCH
    tokens = training.counters.tokens
    flops = 6 * num_parameters(student) * tokens + (0 if teacher is None else 2 * num_parameters(teacher) * tokens)
    best = {"rouge_l": training.counters.best_rouge_l, "phase": training.counters.best_phase, "epoch": training.counters.best_epoch}
    work.ledger |= {**training_ledger(training.counters, flops), "best": best}


def dev_rouge_l(student: Any, dev: list[tuple[Sample, Encoded]], tokenizer: PreTrainedTokenizerBase, cfg: Config) -> float:
    """Mean ROUGE-L in [0, 1] of the student's answers to the dev prompts, decoded as in the evaluation."""
    size, scores = cfg.engine.generation_sequences, []
    for start in range(0, len(dev), size):
        batch = dev[start : start + size]
        with autocast(student.device, cfg.engine):
            answers = answer(student, [row for _, row in batch], tokenizer, cfg.evaluate.generation, [cfg.evaluate.seeds[0]] * len(batch))
        scores += [rouge_l(given.text, sample.references) for given, (sample, _) in zip(answers, batch, strict=True)]
    return sum(scores) / len(scores)


def _phases(cfg: Config, work: Work, teacher: PreTrainedModel | None, tokenizer: PreTrainedTokenizerBase) -> list[PhaseWork]:
    """The samples and the loss of every phase, joined by id."""
    by_id = {row.id: row for row in encode_all(read_samples(work, "train"), tokenizer, cfg.model)}
    phases = read_rows(work.inputs["phases"] / "phases.jsonl", Phase)
    unknown = [id for phase in phases for id in phase.ids if id not in by_id]
    if unknown:
        raise UserError(f"{work.inputs['phases'] / 'phases.jsonl'}: sample {unknown[0]} is not in the training split ({len(unknown)} such)")
    works = []
    for phase, loss in zip(phases, schedule(cfg.schedule, len(phases)), strict=True):
        rows = [by_id[id] for id in sorted(phase.ids)]
        if teacher is None:
            works.append(PhaseWork(rows, reference_loss(len(tokenizer))))
        else:
            works.append(PhaseWork(rows, distillation(teacher, cfg.method, loss, len(tokenizer)), asdict(loss)))
    return works


def _dev(cfg: Config, work: Work, tokenizer: PreTrainedTokenizerBase) -> list[tuple[Sample, Encoded]]:
    """The dev samples that choose the weights, longest prompt first."""
    samples = read_samples(work, "dev")[: cfg.distill.dev_samples]
    pairs = zip(samples, encode_all(samples, tokenizer, cfg.model), strict=True)
    return sorted(pairs, key=lambda pair: (-len(pair[1].prompt), pair[0].id))
