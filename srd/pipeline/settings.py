"""What the sections of a config put into the settings of a node: what is off, or is not read, is not there at all.

So what was made before there was an option stays valid, and two settings that mean the same are one artefact.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from srd.config import PASS_RATE, Config, Dataset, Distill, Evaluate, Filter, Finetune, Generation, Positions, Reflect
from srd.distillation.divergences import power_of
from srd.errors import UserError
from srd.metrics import METRICS, executing
from srd.pipeline.identity import folder_identity
from srd.selection.curricula import CURRICULA
from srd.selection.importance import IMPORTANCE
from srd.selection.positions import POLICIES, asked
from srd.selection.ranking import SIGNALS
from srd.store.files import known_digest


def of_noise(dataset: Dataset) -> dict[str, Any]:
    """How training responses are spoilt."""
    if dataset.corrupt == 0:
        return {}
    kind = {"corrupt_kind": dataset.corrupt_kind} if dataset.corrupt_kind != Dataset.corrupt_kind else {}
    return {"corrupt": dataset.corrupt, "corrupt_seed": dataset.corrupt_seed, **kind}


def of_finetuning(recipe: Finetune) -> dict[str, Any]:
    """The recipe of fine-tuning; the split counts where it is not the one that always was."""
    settings = asdict(recipe)
    if recipe.split == Finetune.split:
        del settings["split"]
    return settings


def of_recipe(recipe: Distill) -> dict[str, Any]:
    """The recipe of distillation; the metric that chooses counts where it is not the one that always chose."""
    settings = asdict(recipe)
    if recipe.select_by == Distill.select_by:
        del settings["select_by"]
    return settings


def of_classes(cfg: Config) -> dict[str, Any]:
    """What a choice of classes reads of its settings."""
    read = ("count",) if cfg.teacher.signal == "top" else ("draws", "slots", "seed")
    return {key: getattr(cfg.selection.classes, key) for key in (*read, "temperature")}


def of_positions(positions: Positions) -> dict[str, Any]:
    """What a choice of positions reads of its settings."""
    policy, weight = POLICIES[positions.policy], positions.weight
    drawn = policy.is_drawn or any(IMPORTANCE[name].drawn for name in asked(positions))
    read = {"policy", *policy.reads, "cross_entropy", *({"weight"} if weight else ()), *({"seed"} if drawn else ())}
    read |= {"cooling", "signal"} if positions.cooling else set()
    return {key: value for key, value in asdict(positions).items() if key in read}


def of_method(cfg: Config) -> dict[str, Any]:
    """What a method reads of its settings; a method without a divergence reads none of those that shape one."""
    method, corpus = cfg.method, cfg.method.corpus
    settings: dict[str, Any] = {}
    if corpus.path is not None:
        if not Path(corpus.path).is_file():
            raise UserError(f"method.corpus.path={corpus.path}: no such file; expected JSON Lines with a column 'text'")
        settings["corpus"] = {**asdict(corpus), "path": known_digest(Path(corpus.path))}
    if method.divergence is not None:
        settings["method"] = {
            "divergence": method.divergence,
            "parameters": method.parameters,
            "temperature_power": power_of(method.divergence, method.temperature_power),
        }
    if method.is_on_policy:
        data = method.student_data
        unused = set() if data.adaptive else {"share_step", "loss_margin"}
        unused |= set() if data.replay_capacity else {"fresh"}
        unused |= set() if data.prompt_tokens is not None else {"prompt_tokens"}
        settings["student_data"] = {key: value for key, value in asdict(data).items() if key not in unused}
    return settings


def of_metrics(cfg: Config) -> dict[str, Any]:
    """What scores the answers; it counts where it is not what always scored them."""
    names = cfg.evaluate.metrics
    return ({} if names == Evaluate().metrics else {"metrics": names}) | of_code(cfg, names) | of_encoder(cfg, names)


def metrics_read(cfg: Config) -> dict[str, list[str]]:
    """The metrics of answers that a run reads, by split: those that rank or weigh, the one that chooses the best
    weights, and those of the evaluation."""
    signals = dict.fromkeys(name for order in cfg.orders for name in order)
    ranking = [SIGNALS[name].metric or verifier(cfg) for name in signals if SIGNALS[name].is_of_answers]
    return {"train": ranking, "dev": [cfg.distill.select_by], "test": cfg.evaluate.metrics}


def of_code(cfg: Config, names: Iterable[str]) -> dict[str, Any]:
    """How code is executed, where one of the metrics does."""
    return {"code": asdict(cfg.evaluate.code)} if executing(names) else {}


def of_curriculum(cfg: Config) -> dict[str, Any]:
    """How the samples that stay are cut into phases."""
    name = cfg.curriculum.name if cfg.num_phases > 1 else "none"
    used = {key: getattr(cfg.curriculum, key) for key in CURRICULA[name].reads}
    read = {key: value for key, value in used.items() if value is not None}
    return {"curriculum": name, "phases": cfg.num_phases, **read}


def of_encoder(cfg: Config, names: Iterable[str]) -> dict[str, Any]:
    """What answers are read with, where one of the metrics reads them; a `UserError` where none is named."""
    reading = [name for name in names if name in METRICS and METRICS[name].read is not None]
    if not reading:
        return {}
    encoder = cfg.evaluate.encoder
    if encoder.name is None:
        raise UserError(
            f"evaluate.encoder.name=null: {reading[0]} reads with a model; set it to a folder, or to a name on the hub "
            "with evaluate.encoder.revision=COMMIT"
        )
    is_folder = Path(encoder.name).is_dir()
    if not is_folder and encoder.revision is None:
        raise UserError(
            f"evaluate.encoder.name={encoder.name}: no such folder; a hub model needs evaluate.encoder.revision=COMMIT"
        )
    return {"encoder": asdict(encoder) | ({"name": folder_identity(Path(encoder.name))} if is_folder else {})}


def of_weights(filter: Filter) -> dict[str, Any]:
    """How the samples that stay are weighed."""
    return {"weights": filter.weights, "weight_powers": filter.weight_powers} if filter.weights is not None else {}


def verifier(cfg: Config) -> str:
    """The metric that says whether an answer is right; a `UserError` where none is named."""
    if cfg.rank.verifier is None:
        verifiers = ", ".join(name for name, metric in METRICS.items() if metric.is_binary)
        raise UserError(
            f"rank.verifier=null: {PASS_RATE} needs the metric that says whether an answer is right; expected one of "
            f"{verifiers}"
        )
    return cfg.rank.verifier


def answer_seeds(reflect: Reflect) -> list[int]:
    """The seed of every answer to a prompt, from the number of the answer alone: of more answers the first ones stay
    what they are, and one answer has the seed that it always had."""
    more = [np.random.SeedSequence(reflect.seed, spawn_key=(number,)) for number in range(1, reflect.answers)]
    return [reflect.seed, *(int(each.generate_state(1, np.uint64)[0]) for each in more)]


def of_decoding(generation: Generation, seeds: list[int], backend: str = "transformers") -> dict[str, Any]:
    """How answers are drawn; greedy decoding has no use for seeds and cuts and takes one pass, and who draws matters
    only to samples."""
    if generation.temperature == 0:
        uncut = replace(generation, top_p=Generation.top_p, top_k=Generation.top_k)
        return {"generation": asdict(uncut), "seeds": [0]}
    sampler = {"sampler": backend} if backend != "transformers" else {}
    return {"generation": asdict(generation), "seeds": seeds, **sampler}
