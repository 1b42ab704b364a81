"""likelihood: a checkpoint reads a suite's test rows; how likely each is, and how sure and how right the model."""

from dataclasses import dataclass

from srd.config import Pair
from srd.distillation.reference import reference_likelihood
from srd.errors import UserError
from srd.metrics.calibration import summary
from srd.runtime import processes
from srd.stages.costs import reading_counts
from srd.stages.inputs import read_samples
from srd.stages.scored import Scored, read_scored
from srd.store.artefacts import Work
from srd.store.partial import Counts, Tick, block, fill
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
    rows = sorted((row for row in rows if row.num_supervised), key=lambda row: (-row.num_tokens, row.id))
    if not rows:
        raise UserError(f"suite {work.settings.suite}: no position to predict in any test row; raise model.max_tokens")

    def compute(batch: list[Encoded], tick: Tick) -> tuple[list[Likelihood], Counts]:
        found = reference_likelihood(loaded.model, batch, loaded.tokenizer, work.engine)
        tick(len(batch))
        return found, reading_counts(batch, loaded.parameters)

    name = "likelihood.jsonl"
    fill(work, name, rows, block(work.engine), compute, lambda row: row["id"], lambda row: row.num_tokens)
    if processes.is_first():
        work.ledger["likelihood"] = summary(read_rows(work.path / name, Likelihood))
