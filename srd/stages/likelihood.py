"""likelihood: a checkpoint reads a suite's test rows; how likely each is, and how sure and how right the model."""

from dataclasses import dataclass

from srd.config import Pair
from srd.distillation.reference import reference_likelihood
from srd.errors import UserError
from srd.metrics.calibration import summary
from srd.runtime import processes
from srd.stages.inputs import read_samples
from srd.stages.reading import fill_readings
from srd.stages.scored import Scored, read_scored
from srd.store.artefacts import Work
from srd.store.rows import Likelihood, read_rows
from srd.text.encoding import Encoded, encode_all


@dataclass(kw_only=True)
class Settings(Scored):
    """What decides the likelihoods."""

    suite: str


def make(work: Work[Settings, Pair]) -> None:
    """Leave `likelihood.jsonl`, and in the ledger the `likelihood` of all rows together."""
    loaded = read_scored(work)
    rows = encode_all(read_samples(work, "test"), loaded.tokenizer, work.settings.text)
    rows = [row for row in rows if row.num_supervised]
    if not rows:
        raise UserError(f"suite {work.settings.suite}: no position to predict in any test row; raise model.max_tokens")

    def read(batch: list[Encoded]) -> list[Likelihood]:
        return reference_likelihood(loaded.model, batch, loaded.tokenizer, work.engine)

    name = "likelihood.jsonl"
    fill_readings(work, name, rows, [loaded.parameters], read)
    if processes.is_first():
        work.ledger["likelihood"] = summary(read_rows(work.path / name, Likelihood))
