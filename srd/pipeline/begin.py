"""What every command that works on artefacts does first: outputs that can be written, and the teacher's signal chosen,
because it decides which artefacts there are.
"""

import os
from dataclasses import replace

from srd.config import STATE_BYTES, Config
from srd.errors import UserError
from srd.metrics import METRICS, check_installed, executing
from srd.metrics.walls import walls
from srd.pipeline import graph
from srd.pipeline.identity import hidden_size
from srd.pipeline.make import make
from srd.pipeline.settings import metrics_read
from srd.runtime.progress import say
from srd.store.artefacts import prepare
from srd.store.manifests import read_manifest

NAMED_BY = {"train": "ranking signal", "dev": "distill.select_by", "test": "evaluate.metrics entry"}
"""What names the metrics of a split."""


def begin(cfg: Config, planning: bool = False) -> Config:
    """The config ready for work: outputs can be written, and the teacher's signal is chosen."""
    world = os.environ.get("WORLD_SIZE", "1")
    if not world.isdecimal():
        raise UserError(f"WORLD_SIZE={world}: expected a whole number, or the variable unset: srd needs none")
    if int(world) > 1:
        raise UserError(
            f"WORLD_SIZE={world}: srd starts its processes itself; leave torchrun or accelerate launch away and add "
            f"engine.processes={world}"
        )
    prepare(cfg.outputs)
    if not planning:
        _check_packages(cfg)
        _check_code(cfg)
    return with_teacher_signal(cfg, planning)


def _check_packages(cfg: Config) -> None:
    """A `UserError` for a metric that the run needs and whose package is not installed."""
    for split, names in metrics_read(cfg).items():
        for name in (name for name in names if name in METRICS):
            check_installed(name, NAMED_BY[split])


def _check_code(cfg: Config) -> None:
    """A `UserError` where the code that models write would be executed without leave, or could not be shut away."""
    code, found = cfg.evaluate.code, executing(name for names in metrics_read(cfg).values() for name in names)
    if found and not cfg.evaluate.allow_code:
        where = "with no walls around it" if code.isolation == "none" else "without network or sight of your files"
        raise UserError(
            f"evaluate.allow_code=false: the metric {found[0]} would execute the code that the models write, "
            f"{where}, {code.cpu_seconds} s and {code.memory_mb} MiB an answer; set evaluate.allow_code=true to let it"
        )
    if found:
        walls(code)


def with_teacher_signal(cfg: Config, planning: bool = False) -> Config:
    """The config with `teacher.signal=auto` turned into hidden or online, by an estimate of the cache's size.

    A third of the bytes of `samples.jsonl` is taken for its positions: more than text in Latin script has. Of windows
    the tokens are known. The cache stage itself knows the size and stops where the disk is too small. Only in
    `planning` do the numbers of `plan` stand for the samples.
    """
    if cfg.teacher.signal != "auto" or not cfg.caches_teacher:
        return cfg
    if planning and cfg.plan.samples is not None and cfg.plan.response_tokens is not None:
        positions = cfg.plan.samples * cfg.plan.response_tokens
    elif cfg.dataset.is_text:
        windows = read_manifest(make(cfg, graph.rows(cfg)))["ledger"]["samples"]["train"]
        positions = windows * cfg.model.max_tokens
    else:
        positions = (make(cfg, graph.samples(cfg.dataset)) / "samples.jsonl").stat().st_size / 3
    each = STATE_BYTES[cfg.teacher.dtype or cfg.model.teacher.dtype]
    about_gb = positions * hidden_size(cfg.model.teacher) * each / 1e9
    signal = "hidden" if about_gb <= cfg.teacher.disk_gb else "online"
    chosen = replace(cfg, teacher=replace(cfg.teacher, signal=signal))
    if signal == "online" or planning or not graph.cache(chosen).is_complete(cfg.outputs):
        say(
            f"teacher.signal=auto: {signal}; a cache takes about {about_gb:.2g} GB of "
            f"teacher.disk_gb={cfg.teacher.disk_gb:g}"
        )
    return chosen
