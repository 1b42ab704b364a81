"""Every stage once: what it does, its version, who asks for it. Pure data, so that `srd --help` loads nothing.

The command line, the graph, the maker, `srd show` and the report read it. A stage is one file in `srd/stages/`
with `make(work)` and one line here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """What the program needs to know of a stage besides its code."""

    help: str
    """One line for `srd --help`."""
    nodes: str
    """`module:function` from a config to the artefacts that the stage's command makes."""
    version: int = 1
    """Raised by hand when the stage starts to behave differently: every artefact of it is then made again."""
    on_demand: bool = False
    """Has no command; made whenever another stage needs it."""
    shared: bool = False
    """Several processes share its work (`engine.processes`)."""
    common: bool = False
    """Every arm of a study starts from it: its cost is stated apart from theirs."""
    reported: bool = False
    """Made by a command of its own, or where it is asked for; the report shows it beside the scores."""
    cost_column: str | None = None
    """Column of the report's cost table that counts its seconds."""


GRAPH = "srd.pipeline.graph"
COMMANDED = "srd.pipeline.commanded"
SCORING = "srd.pipeline.scoring"

STAGES: dict[str, Stage] = {
    "samples": Stage(
        "raw rows to samples with ids and splits", f"{COMMANDED}:sample_sets", version=2, on_demand=True, common=True
    ),
    "tokenizer": Stage(
        "train a tokenizer on the training split", f"{COMMANDED}:tokenizers", on_demand=True, common=True
    ),
    "windows": Stage(
        "documents of plain text to windows of tokens", f"{COMMANDED}:window_sets", on_demand=True, common=True
    ),
    "finetune": Stage(
        "fine-tune one of the models (role=teacher|student)",
        f"{COMMANDED}:finetunings",
        version=2,
        shared=True,
        common=True,
    ),
    "answers": Stage(
        "the teacher answers the training prompts", f"{GRAPH}:answers", on_demand=True, version=2, shared=True
    ),
    "reflect": Stage(
        "the student answers the training prompts",
        f"{GRAPH}:reflect",
        version=2,
        shared=True,
        cost_column="of it reflect",
    ),
    "grade": Stage(
        "a metric of the student's answers, one artefact each",
        f"{COMMANDED}:gradings",
        on_demand=True,
        cost_column="of it reflect",
    ),
    "score": Stage(
        "the models read the references: signals without an answer",
        f"{GRAPH}:score_families",
        shared=True,
        cost_column="of it score",
    ),
    "rank": Stage("order the samples by difficulty", f"{GRAPH}:rankings", cost_column="rank…partition"),
    "filter": Stage("keep the easiest, or the hardest", f"{GRAPH}:filter", cost_column="rank…partition"),
    "partition": Stage("cut what stays into curriculum phases", f"{GRAPH}:partition", cost_column="rank…partition"),
    "cache": Stage(
        "keep what enters the teacher's head, once for all arms",
        f"{GRAPH}:cache",
        version=2,
        shared=True,
        cost_column="of it cache",
    ),
    "distill": Stage("train the student on the teacher, phase by phase", f"{GRAPH}:distill", version=2, shared=True),
    "evaluate": Stage("score teacher, student and distilled student", f"{SCORING}:evaluations", version=2, shared=True),
    "likelihood": Stage(
        "perplexity and calibration of them on the test rows", f"{SCORING}:likelihoods", shared=True, reported=True
    ),
    "harness": Stage("the standard suites, asked by lm-eval, a program apart", f"{SCORING}:harnesses", reported=True),
}
"""Stages by name, in the order of the pipeline."""
