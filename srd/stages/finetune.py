"""finetune: supervised fine-tuning of the teacher, or the student's warm start before it reflects."""

from dataclasses import dataclass, field
from typing import Any

from srd.config import Finetune, Lora, Pair, Text
from srd.distillation.loss import reference_loss
from srd.models.checkpoints import folded, save_model, trainable
from srd.runtime.loggers import logger
from srd.runtime.progress import bar
from srd.stages.costs import learning_flops, training_ledger
from srd.stages.inputs import read_model, read_samples
from srd.store.artefacts import Work
from srd.text.encoding import encode_all
from srd.training.loop import Training
from srd.training.order import PhaseWork


@dataclass
class Settings:
    """What decides the fine-tuned weights."""

    role: str
    text: Text
    weights: dict[str, Any]
    """Identity of the weights that training starts from."""
    recipe: Finetune
    lora: Lora = field(default_factory=Lora)


def make(work: Work[Settings, Pair]) -> None:
    """Leave `model/`, whole also where an adapter was trained, and `metrics.jsonl`."""
    settings, loaded = work.settings, read_model(work, work.settings.role, work.settings.weights)
    rows = encode_all(read_samples(work, settings.recipe.split), loaded.tokenizer, settings.text)
    model = trainable(loaded.model, settings.lora, settings.recipe.seed, settings.role)
    with logger(work.logger, str(work.node), work.outputs) as log:
        training = Training(model, settings.recipe, work.engine, work.path, loaded.pad_id, log, clock=work.clock)
        phases, counters = [PhaseWork(rows, reference_loss(loaded.vocabulary, work.engine))], training.state.counters
        with bar(f"finetune {settings.role}, tokens", *training.tokens(phases)) as advance:
            training.train(phases, advance)
    save_model(folded(model, f"model.{settings.role}.lora"), loaded.tokenizer, work.path / "model")
    work.leaves |= {"model", "metrics.jsonl"}
    work.ledger |= training_ledger(counters, learning_flops(loaded.parameters, counters))
