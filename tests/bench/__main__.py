"""`make bench`: ours against the plain thing, in one run; `--gpu` on a GPU, `--tiny` to see that it runs, `check`
against what stands.

Writes outputs/bench/bench.json (bench-gpu.json) and prints a table; `check` fails when a ratio has dropped by more than
a quarter.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from srd.errors import UserError
from tests.bench import distill, reflect, selection, small
from tests.bench.measure import Figure
from tests.bench.shapes import CPU, GPU, TINY, Shapes
from tests.conftest import ROOT
from tests.reading import read_json

EXPECTED = ROOT / "tests" / "bench"
"""Where the ratios stand that `check` guards: expected.json for the processor, expected-gpu.json for a GPU."""
DROP = 0.75


def main() -> int:
    """Measure, write, print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["run", "check"], default="run")
    parser.add_argument("--gpu", action="store_true", help="GPT-2 XL to GPT-2 124M shapes on the GPU, bfloat16")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes: to see that it runs")
    parser.add_argument("--out", type=Path, help="file to write")
    parser.add_argument("--of", type=Path, help="check this file of an earlier run, and measure nothing")
    words = parser.parse_args()
    if words.what == "check" and words.tiny:
        parser.error("tiny shapes have no ratios that stand")
    if words.of is not None:
        return check(read_json(words.of)["figures"], _expected(words.gpu))
    target = words.out or ROOT / "outputs" / "bench" / ("bench-gpu.json" if words.gpu else "bench.json")
    expected = _expected(words.gpu) if words.what == "check" else {}
    begin = time.time()
    figures = models(TINY if words.tiny else GPU if words.gpu else CPU, words.gpu, words.tiny)
    if not words.gpu:
        figures |= processor(words.tiny)
    report = {
        "machine": _machine(),
        "minutes": (time.time() - begin) / 60,
        "figures": {key: asdict(f) for key, f in figures.items()},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _print(figures)
    print(f"{target}  ({report['minutes']:.1f} minutes)")
    return check(report["figures"], expected) if words.what == "check" else 0


def models(shapes: Shapes, gpu: bool, tiny: bool) -> dict[str, Figure]:
    """What needs a teacher and a student."""
    figures = distill.figures(shapes, goals=(">= 12", ">= 1") if gpu else (">= 7", ">= 3.4"))
    figures["reflect"] = reflect.figure(shapes, real=not gpu and not tiny, goal=">= 8" if gpu else ">= 2.5")
    figures["run_total"] = distill.run_total(figures, shapes)
    return figures | selection.figures(shapes)


def processor(tiny: bool) -> dict[str, Figure]:
    """What needs none."""
    figures = {"rouge": small.rouge(500 if tiny else 10_000), **small.rank_million(10_000 if tiny else 1_000_000)}
    if not tiny:
        figures["loss_peak_memory"] = small.loss_peak_memory()
        figures["positions_memory"] = selection.positions_memory()
    return figures | small.program()


def _expected(gpu: bool) -> dict[str, float]:
    """The committed ratios of this kind of machine; none is a `UserError`, before anything is measured."""
    path = EXPECTED / ("expected-gpu.json" if gpu else "expected.json")
    if not path.is_file():
        raise UserError(f"{path}: no such file; write the ratios of a run that stands into it")
    return read_json(path)


def check(figures: dict[str, dict[str, Any]], expected: dict[str, float]) -> int:
    """Compare ratios with those that stand; 1 where one has dropped by more than a quarter, or is not there."""
    failed = 0
    for key, value in expected.items():
        if key not in figures or figures[key]["value"] < DROP * value:
            measured = f"{figures[key]['value']:.2f}" if key in figures else "not measured"
            print(f"{key}: {measured}, expected {value}: worse by more than a quarter")
            failed += 1
    print("worse than before" if failed else "nothing has dropped")
    return int(failed > 0)


def _print(figures: dict[str, Figure]) -> None:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for name, justify in (("key", "left"), ("", "right"), ("spread", "right"), ("goal", "right"), ("", "left")):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for key, figure in figures.items():
        unit = "x" if figure.unit == "times" else f" {figure.unit}"
        spread = f"{figure.spread[0]:.2f} … {figure.spread[1]:.2f}"
        goal = figure.goal.replace(">=", "≥").replace("<=", "≤")
        table.add_row(key, f"{figure.value:.2f}{unit}", spread, goal, "reached" if figure.reached else "missed")
    Console(highlight=False).print(table)


def _machine() -> dict[str, Any]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
    } | {"torch": torch.__version__, "python": platform.python_version()}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"bench: {error}")
