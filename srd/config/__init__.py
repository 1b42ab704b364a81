"""Every setting of `srd`: a dataclass a section, a doc line a field with its unit, checks beside them.

`conf/` holds the values; Hydra merges them into these types, so an unknown key or a wrong type stops before
any work. A section states its ranges in `check`, which `srd.config.checks` calls with its full key; names that only
tables know and relations between sections are checked by `srd.commands.validate`.
"""

from srd.config.code import Code
from srd.config.curation import PASS_RATE, Curriculum, Filter, Rank
from srd.config.data import TEXT, WARMUP, ColumnNames, Corpus, Dataset
from srd.config.engine import DEFAULT_ENGINE, Engine, Logger, Plan
from srd.config.generation import EncoderModel, Evaluate, Generation, GenerationDefaults, Harness, Harnessed, Reflect
from srd.config.method import Method, Ramp, Schedule, StudentData
from srd.config.models import (
    DTYPE_BYTES,
    ENCODER_DECODERS,
    SPARSE,
    STATE_BYTES,
    Lora,
    Model,
    Pair,
    Side,
    Teacher,
    Text,
    Weights,
)
from srd.config.recipe import Distill, Finetune, Recipe
from srd.config.root import Config, check_study
from srd.config.selection import Classes, Positions, Selection

__all__ = [
    "DEFAULT_ENGINE",
    "DTYPE_BYTES",
    "ENCODER_DECODERS",
    "PASS_RATE",
    "SPARSE",
    "STATE_BYTES",
    "TEXT",
    "WARMUP",
    "Classes",
    "Code",
    "ColumnNames",
    "Config",
    "Corpus",
    "Curriculum",
    "Dataset",
    "Distill",
    "EncoderModel",
    "Engine",
    "Evaluate",
    "Filter",
    "Finetune",
    "Generation",
    "GenerationDefaults",
    "Harness",
    "Harnessed",
    "Logger",
    "Lora",
    "Method",
    "Model",
    "Pair",
    "Plan",
    "Positions",
    "Ramp",
    "Rank",
    "Recipe",
    "Reflect",
    "Schedule",
    "Selection",
    "Side",
    "StudentData",
    "Teacher",
    "Text",
    "Weights",
    "check_study",
]
