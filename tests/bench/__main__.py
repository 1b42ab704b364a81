"""`make bench`: what has a speed to keep, each the median of alternating repeats, written to outputs/bench/bench.json."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT, command, environment, make_rows

REPEATS = 5


def seconds(words: list[str], cwd: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(words, cwd=cwd, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in make_rows(40)))
        run = command("run", "debug=smoke", "dataset=jsonl", f"dataset.path={folder / 'rows.jsonl'}", "engine=cpu")
        subprocess.run(run, cwd=folder, env=environment(), check=True, capture_output=True)
        jobs = {"startup": [str(Path(sys.executable).parent / "srd"), "--help"], "nothing_to_do": run}
        times: dict[str, list[float]] = {key: [] for key in jobs}
        for _ in range(REPEATS):
            for key, words in jobs.items():
                times[key].append(seconds(words, folder))
    result = {
        key: {"median_seconds": statistics.median(each), "least": min(each), "most": max(each), "limit": limit}
        for (key, each), limit in zip(times.items(), (0.5, 5.0), strict=True)
    }
    target = ROOT / "outputs" / "bench" / "bench.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": platform.machine(), "cores": os.cpu_count(), **result}, indent=1) + "\n")
    for key, values in result.items():
        print(f"{key:<16} {values['median_seconds']:.2f} s  ({values['least']:.2f} … {values['most']:.2f}, limit {values['limit']} s)")
    print(target)


if __name__ == "__main__":
    main()
