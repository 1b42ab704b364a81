"""Where scalars go besides `metrics.jsonl`: nowhere, W&B or TensorBoard."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srd.errors import UserError
from srd.runtime import processes

if TYPE_CHECKING:
    from srd.config import Logger


Log = Callable[[dict[str, Any]], None]
"""Takes one row of `metrics.jsonl` or `dev.jsonl`, with its `step`."""


def _scalars(row: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, int | float) and key != "step"}


@contextmanager
def none(settings: "Logger", name: str, outputs: Path) -> Iterator[Log]:
    """Nowhere."""
    yield lambda row: None


@contextmanager
def wandb(settings: "Logger", name: str, outputs: Path) -> Iterator[Log]:
    """Weights & Biases, under `<outputs>/wandb`; offline unless `logger.mode=online`."""
    try:
        import wandb as client  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("logger=wandb: the package wandb is not installed; run `pip install 'srd[wandb]'`") from None
    outputs.mkdir(parents=True, exist_ok=True)
    run = client.init(
        project=settings.project,
        id=name.replace("/", "-"),
        name=name,
        dir=outputs,
        mode="online" if settings.mode == "online" else "offline",
        resume="allow",
    )
    try:
        yield lambda row: run.log(_scalars(row), step=row["step"])
    finally:
        run.finish()


@contextmanager
def tensorboard(settings: "Logger", name: str, outputs: Path) -> Iterator[Log]:
    """TensorBoard event files under `<outputs>/tensorboard/<stage>/<fingerprint>`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "logger=tensorboard: the package tensorboard is not installed; run `pip install 'srd[tensorboard]'`"
        ) from None
    writer = SummaryWriter(outputs / "tensorboard" / name)

    def log(row: dict[str, Any]) -> None:
        for key, value in _scalars(row).items():
            writer.add_scalar(key, value, row["step"])

    try:
        yield log
    finally:
        writer.close()


LOGGERS = {"none": none, "wandb": wandb, "tensorboard": tensorboard}


def logger(settings: "Logger", name: str, outputs: Path) -> AbstractContextManager[Log]:
    """The logger of the settings; of several processes only the first one logs."""
    return LOGGERS[settings.name if processes.is_first() else "none"](settings, name, outputs)
