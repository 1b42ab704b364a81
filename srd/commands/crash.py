"""The last handler: an unexpected error is one line on the terminal, and its traceback a file."""

import os
import tempfile
import time
import traceback
from pathlib import Path

from srd.errors import first_line


def keep_traceback(error: BaseException, words: list[str]) -> str:
    """The line for the user; the traceback and the command are in the file that it names, under the outputs folder
    or, where that cannot be written, in the system's folder for temporary files."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("outputs=")]
    outputs = Path(os.path.expanduser((chosen or ["outputs"])[-1].strip("'\"")))
    text = f"srd {' '.join(words)}\n\n{''.join(traceback.format_exception(error))}"
    name = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    place = _written(outputs / "errors", name, text) or _written(Path(tempfile.gettempdir()), f"srd-{name}", text)
    said = " ".join(first_line(error).split())
    short = said if len(said) <= 200 else said[:199] + "…"
    kind = type(error).__name__
    what = kind if short == kind else f"{kind}: {short}"
    return f"unexpected error, {what}; the traceback is in {place or 'no file: none can be written'}"


def _written(folder: Path, name: str, text: str) -> Path | None:
    """The file with the text, or nothing where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError):
        return None
    return folder / name
