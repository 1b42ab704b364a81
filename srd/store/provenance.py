"""Where a number comes from: code, packages and machine, recorded in every manifest."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "srd",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "peft",
    "gguf",
    "rouge-score",
    "numpy",
    "hydra-core",
)


DIFF_BYTES = 100_000


def provenance() -> dict[str, Any]:
    """Commit and uncommitted changes of the code, versions of the packages, and the hardware."""
    return {"code": _code(), "packages": _packages(), "hardware": _hardware()}


@cache
def _code() -> dict[str, str | None]:
    """Commit and diff of the checkout that `srd` runs from; nothing where it runs from an installed wheel."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "diff": None}

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=root, capture_output=True, text=True, timeout=20, errors="replace"
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    commit, diff = git("rev-parse", "HEAD"), git("diff", "HEAD")
    return {"commit": commit and commit.strip(), "diff": diff and diff[:DIFF_BYTES]}


@cache
def _packages() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _hardware() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if cuda and torch
        else [],
    }


def peak_memory_bytes() -> int:
    """Largest memory of this process so far: on the accelerator where one was used, else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
