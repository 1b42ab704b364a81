"""The date that a chat template may read: one a run, so that every stage and every row sees the same."""

from datetime import date
from functools import cache

CLOCK = "strftime_now"
"""What transformers gives a chat template to ask for the time."""


@cache
def today() -> str:
    """The day on which the program began to work, as YYYY-MM-DD."""
    # Kept, so that a run across midnight renders its prompts alike.
    return date.today().isoformat()


def reads_clock(template: str) -> bool:
    """Whether a chat template asks for the time."""
    return CLOCK in template
