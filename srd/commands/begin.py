"""What every command that works on artefacts does first."""

import os

from srd.config import Config
from srd.errors import UserError
from srd.pipeline.teacher_signal import with_teacher_signal
from srd.store.artefacts import prepare


def begin(cfg: Config, planning: bool = False) -> Config:
    """The config ready for work: outputs can be written, and the teacher's signal is chosen."""
    world = os.environ.get("WORLD_SIZE", "1")
    if int(world) > 1:
        raise UserError(
            f"WORLD_SIZE={world}: srd starts its processes itself; leave torchrun or accelerate launch away and add "
            f"engine.processes={world}"
        )
    prepare(cfg.outputs)
    return with_teacher_signal(cfg, planning)
