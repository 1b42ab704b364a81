"""How the processor's memory is handed back: not between two steps, which costs a training step a tenth of its time or more."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt (malloc.h)."""
LARGEST_KEPT, DEFAULT_BYTES = 32 << 20, 128 << 10
"""Blocks above the first are never kept: glibc allows no more, and keeping larger ones was seen to leave gaps as large as themselves."""


def keep_freed(whether: bool = True) -> None:
    """Keep what tensors free for the next ones; otherwise every tensor of some size is new memory, which the system clears page by page.

    Numbers stay the same to the last bit. `False` goes back to the C library's defaults. Other systems than Linux with
    glibc have their own ways, and are left alone.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        return
    library.mallopt(MMAP_THRESHOLD, LARGEST_KEPT if whether else DEFAULT_BYTES)
    library.mallopt(TRIM_THRESHOLD, -1 if whether else DEFAULT_BYTES)
    if not whether:
        library.malloc_trim(0)
