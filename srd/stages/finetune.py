"""finetune: supervised fine-tuning of the teacher, or the student's warm start before it reflects."""

from pathlib import Path

from srd.config import Config
from srd.distillation.loss import reference_loss
from srd.models.checkpoints import save_model, trainable
from srd.models.load import load_model, load_tokenizer, num_parameters
from srd.runtime.loggers import logger
from srd.runtime.progress import bar
from srd.stages.costs import training_ledger
from srd.stages.inputs import read_samples
from srd.store.artefacts import Work
from srd.text.encoding import encode_all, pad_id
from srd.training.loop import Training
from srd.training.order import PhaseWork, num_steps
from srd.training.state import SCRATCH


def make(cfg: Config, work: Work) -> None:
    role = work.node.settings["role"]
    side = cfg.model.side(role)
    recipe = side.finetune
    tokenizer = load_tokenizer(cfg, work.inputs)
    rows = encode_all(read_samples(work, "train"), tokenizer, cfg.model)
    model = trainable(load_model(cfg, role, work.inputs, tokenizer), side, recipe.seed)
    with logger(cfg.logger, str(work.node), Path(cfg.outputs)) as log:
        training = Training(model, recipe, cfg.engine, work.path, pad_id(tokenizer), log)
        with bar(f"finetune {role}", num_steps([len(rows)], recipe), training.state.counters.step) as advance:
            training.train([PhaseWork(rows, reference_loss(len(tokenizer), cfg.engine))], advance)
    save_model(model, tokenizer, work.path / "model")
    work.scratch |= SCRATCH | {"dev.jsonl"}
    work.ledger |= training_ledger(training.state.counters, 6 * num_parameters(model) * training.state.counters.tokens)
