"""Odd values: for every type of a key, and those that no type wants."""

from random import Random

NUMBERS = [
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "1.0",
    "1e-30",
    "-0.0",
    "1e308",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "1_000",
    "007",
]
NOT_FINITE = ["nan", "inf", "-inf", "1e999"]
HUGE = ["9999999999", "18446744073709551616", "-9223372036854775809", "1" + "0" * 60]
WORDS = [
    "true",
    "false",
    "null",
    "yes",
    "''",
    '""',
    "~",
    "x",
    "last",
    "rouge_l",
    "teacher",
    "auto",
    "cpu",
    "None",
    "NaN",
]
LISTS = [
    "[]",
    "[0]",
    "[1,2,3]",
    "[1,1]",
    "[null]",
    "[nan]",
    "[teacher]",
    "[[1]]",
    "[a,'b c']",
    "{}",
    "{a:1}",
    "{a:{b:nan}}",
]
ODD_TEXTS = [
    "ряд",
    "数",
    "a b",
    "a=b",
    "a,b",
    "(x)",
    "[x",
    "x]",
    "{x",
    "#x",
    "$x",
    "${x}",
    "${study}",
    "${oc.env:HOME}",
]
ODD_PATHS = ["rows (1).jsonl", "~/rows.jsonl", "ряд.jsonl", "a,b.jsonl", "rows=1.jsonl", ".", "..", "no/such", "c/../c"]
BROKEN = [
    "'",
    '"',
    "\\",
    "a'b",
    "a:b",
    "%s",
    "{0}",
    "\t",
    "a\nb",
    "é\u0301",
    "\u202e",
    "🙂",
    "x" * 300,
    "-1e",
    "--x",
    "???",
]


def value(rng: Random) -> str:
    """An odd value, as a user might type it behind `key=`."""
    return rng.choice(rng.choice([NUMBERS, NUMBERS, HUGE, WORDS, LISTS, ODD_TEXTS, ODD_PATHS, BROKEN]))


def flags(rng: Random, overrides: list[str]) -> list[str]:
    """The overrides with flags of Hydra's or of other programs at odd places."""
    words = list(overrides)
    for _ in range(rng.randint(1, 2)):
        flag = rng.choice(
            [
                ["-m"],
                ["--multirun"],
                ["--cfg", "job"],
                ["--cfg", "all"],
                ["--cfg"],
                ["-c", "job"],
                ["--seed", "3"],
                ["--filter.keep=0.5"],
                ["--help"],
                ["-h"],
                ["--hydra-help"],
                ["--info"],
                ["--info", "x"],
                ["--resolve"],
                ["--package", "x"],
                ["--config-name", "x"],
                ["--config-dir", "x"],
                ["--experimental-rerun", "x"],
                ["--shell-completion"],
                ["--version"],
                ["-x"],
                ["--"],
                ["-"],
                [""],
                ["run"],
            ]
        )
        place = rng.randint(0, len(words))
        words[place:place] = flag
    return words
