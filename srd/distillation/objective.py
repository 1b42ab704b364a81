"""The loss of a method, at all positions or at chosen ones."""

from srd.config import DEFAULT_ENGINE, Engine, Method
from srd.distillation.choosing import Chooser
from srd.distillation.loss import Objective, distillation, reference_loss
from srd.distillation.selective import selective_distillation
from srd.distillation.teacher import TeacherSignal


def objective(
    teacher: TeacherSignal | None,
    method: Method,
    vocabulary: int,
    engine: Engine = DEFAULT_ENGINE,
    chooser: Chooser | None = None,
) -> Objective:
    """Distillation where a method has a teacher, at the positions that `chooser` chooses if there is one; else the
    cross-entropy with its responses."""
    if teacher is None:
        return reference_loss(vocabulary, engine)
    if chooser is None:
        return distillation(teacher, method, vocabulary, engine)
    return selective_distillation(teacher, method, chooser, vocabulary, engine)
