"""A process that says of two answers whether they are the same: math-verify, behind a pipe because it may hang.

Reads lines of JSON, [gold, answer], and writes a line for each: true or false. It loads nothing of `srd`.
"""

import json
import logging
import re
import resource
import sys
from typing import Any

from math_verify import parse, verify

LAST_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
MEMORY_BYTES = 2 << 30
"""An expression as 9^(9^9) would take all that there is."""


def parsed(text: str) -> list[Any]:
    """What math-verify reads in a text, else its last number; empty where there is none."""
    found = parse(text, parsing_timeout=0)
    numbers = LAST_NUMBER.findall(text)
    return found or (parse(numbers[-1], parsing_timeout=0) if numbers else [])


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    print("ready", flush=True)
    for line in sys.stdin:
        gold, answer = json.loads(line)
        # What this raises ends the process, which says of the answer that it is wrong.
        print(json.dumps(bool(verify(parsed(gold), parsed(answer), timeout_seconds=None))), flush=True)


if __name__ == "__main__":
    main()
