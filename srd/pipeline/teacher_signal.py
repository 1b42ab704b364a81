"""`teacher.signal=auto` made a choice: before a run, because it decides which artefacts there are."""

from dataclasses import replace

from srd.config import DTYPE_BYTES, Config
from srd.pipeline import graph
from srd.pipeline.identity import hidden_size
from srd.pipeline.make import make
from srd.runtime.progress import say


def with_teacher_signal(cfg: Config, planning: bool = False) -> Config:
    """The config with `teacher.signal=auto` turned into hidden or online, by an estimate of the cache's size.

    A third of the bytes of `samples.jsonl` is taken for its positions: more than text in Latin script has. The cache
    stage itself knows the size and stops where the disk is too small. Only in `planning` do the numbers of `plan`
    stand for the samples.
    """
    if cfg.teacher.signal != "auto" or not cfg.caches_teacher:
        return cfg
    if planning and cfg.plan.samples is not None and cfg.plan.response_tokens is not None:
        positions = cfg.plan.samples * cfg.plan.response_tokens
    else:
        positions = (make(cfg, graph.samples(cfg.dataset)) / "samples.jsonl").stat().st_size / 3
    each = DTYPE_BYTES[cfg.teacher.dtype or cfg.model.teacher.dtype]
    about_gb = positions * hidden_size(cfg.model.teacher) * each / 1e9
    signal = "hidden" if about_gb <= cfg.teacher.disk_gb else "online"
    chosen = replace(cfg, teacher=replace(cfg.teacher, signal=signal))
    if signal == "online" or planning or not graph.cache(chosen).is_complete(cfg.outputs):
        say(
            f"teacher.signal=auto: {signal}; a cache takes about {about_gb:.2g} GB of "
            f"teacher.disk_gb={cfg.teacher.disk_gb:g}"
        )
    return chosen
