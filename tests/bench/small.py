"""What needs no model: ROUGE-L, a million rows, the memory of the loss, the start of the program."""

import json
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench.measure import REPEATS, Figure, cost, ratio, timed, turn_about
from tests.composing import config
from tests.conftest import ROOT, SHARED, command, environment, make_rows
from tests.reading import write_jsonl

LARGE_PAGES = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""For the peaks of memory alone: the same ones in three quarters of the time."""
POSITIONS, VOCABULARY, HIDDEN, CHUNK = 4096, 151_936, 64, 256


def rouge(count: int = 10_000) -> Figure:
    """rouge-score with stemming, one scorer for all pairs, against ours with nothing remembered."""
    from rouge_score.rouge_scorer import RougeScorer

    from srd.metrics import rouge

    rows, source = instructions()
    references = [str(row["output"]) for row in rows][:count]
    rouge.rouge_l("a", ["a"])  # both sides import what they need first
    scorer = RougeScorer(["rougeL"], use_stemmer=True)

    def answers(repeat: int) -> list[str]:
        # A word of its own at the end: no answer is a text that has been seen as a reference.
        return [f"{text} {i}" for i, text in enumerate(random.Random(repeat).sample(references, len(references)))]

    def ours(repeat: int) -> list[float]:
        rouge.forget()
        return [
            rouge.rouge_l(answer, [reference]) for answer, reference in zip(answers(repeat), references, strict=True)
        ]

    def theirs(repeat: int) -> list[float]:
        pairs = zip(answers(repeat), references, strict=True)
        return [scorer.score(reference, answer)["rougeL"].fmeasure for answer, reference in pairs]

    seconds, values = turn_about({"theirs": theirs, "ours": ours})
    assert values["theirs"] == values["ours"], "the same value on every pair"
    return ratio(
        seconds["theirs"],
        seconds["ours"],
        ">= 20",
        f"{len(references):,} pairs, references of {source} against shuffled ones",
    )


def instructions() -> tuple[list[dict[str, Any]], str]:
    """Instruction rows and their name: Dolly where it is at hand, else the embedded data set."""
    file = SHARED / "data" / "dolly" / "minillm_train.jsonl.gz"
    if file.is_file():
        import gzip

        return [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()], "Dolly"
    from srd.config import Dataset
    from srd.datasets import DATASETS

    return [row for row in DATASETS["pydoc"].load(Dataset()) if isinstance(row, dict)], "the embedded data set"


def rank_million(rows: int = 1_000_000) -> dict[str, Figure]:
    """Seconds and peak memory of rank, filter and partition, each in a process of its own, and how the time grows."""
    seconds: dict[int, list[float]] = {rows: [], rows // 10: []}
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        for count in seconds:
            _reflections(Path(name) / f"{count}", count)
        for _ in range(REPEATS):
            for count, spent in seconds.items():
                done = child("tests.bench.small", "rank", str(Path(name) / f"{count}"))
                spent.append(done["seconds"])
                peaks += [done["peak_bytes"] / 1e9] if count == rows else []
    text = f"{rows:,} reflections with answers of 60 words; three stages, reading and writing counted"
    return {
        "rank_million": cost(seconds[rows], "s", "<= 20", text),
        "rank_million_memory": cost(peaks, "GB", "<= 1.5", text),
        "rank_million_growth": ratio(
            seconds[rows], seconds[rows // 10], "<= 12", f"{text}; against a tenth of the rows"
        ),
    }


def _reflections(folder: Path, count: int) -> None:
    """A reflect artefact of `count` rows."""
    chance, words = (
        random.Random(0),
        ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"],
    )
    texts = [" ".join(chance.choices(words, k=60)) for _ in range(1000)]
    folder.mkdir()
    with (folder / "reflections.jsonl").open("w") as file:
        for i in range(count):
            row = {"id": f"{chance.getrandbits(64):016x}", "response": texts[i % 1000]}
            file.write(
                json.dumps({**row, "rouge_l": round(chance.random(), 2), "nll": 5 * chance.random(), "tokens": i % 256})
                + "\n"
            )


def _rank(folder: Path) -> dict[str, float]:
    """The three stages on the reflections in `folder`, in this process."""
    from srd.pipeline import graph
    from srd.stages import filter, partition, rank
    from srd.store.artefacts import Work

    cfg = config()

    def stages() -> None:
        before = {"reflections": folder}
        for stage, module, name in (
            ("rank", rank, "ranking"),
            ("filter", filter, "selection"),
            ("partition", partition, "phases"),
        ):
            (folder / stage).mkdir(exist_ok=True)
            module.make(Work(getattr(graph, stage)(cfg), folder / stage, before, kind=module.Settings))
            before = {name: folder / stage}

    spent, _ = timed(stages)
    return {"seconds": spent, "peak_bytes": peak_bytes()}


def loss_peak_memory() -> Figure:
    """Peak memory that a loss and its gradient add, all positions at once against ours, each in a process of its
    own."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    times = 1 if free > 60e9 else 8  # all at once takes about ten float32 tensors of positions x vocabulary
    shapes = [(POSITIONS // times, POSITIONS), (POSITIONS, CHUNK)] * REPEATS
    with ThreadPoolExecutor(2) as two:  # memory does not mind company
        peaks = list(
            two.map(
                lambda shape: child("tests.bench.small", "loss", *map(str, shape), **LARGE_PAGES)["extra_bytes"], shapes
            )
        )
    dense, chunked = [times * peak for peak in peaks[::2]], peaks[1::2]
    text = f"{POSITIONS:,} positions x {VOCABULARY:,} classes, hidden size {HIDDEN} (so that logits are all there is), "
    text += f"forward KL with cross-entropy, gradient included; chunks of {CHUNK}"
    text += f"; dense measured at {POSITIONS // times:,} positions, times {times}" if times > 1 else ""
    return ratio(dense, chunked, ">= 8", text)


def _loss(positions: int, size: int) -> dict[str, float]:
    """Bytes that the loss of `positions` and its gradient add to this process at their peak."""
    import torch

    from srd.distillation.chunks import LossSums, summed_by_chunks
    from srd.distillation.loss import cross_entropy
    from tests.small import divergence_at

    torch.manual_seed(0)
    hidden = torch.randn(positions, HIDDEN, requires_grad=True)
    heads = [torch.nn.Parameter(torch.randn(VOCABULARY, HIDDEN) / HIDDEN**0.5) for _ in range(2)]
    targets = torch.randint(VOCABULARY, (positions,))

    def chunk_sums(states: torch.Tensor, chunk: slice) -> LossSums:
        logits = states @ heads[0].T
        with torch.no_grad():
            taught = states @ heads[1].T
        values = divergence_at(taught, logits, "forward_kl", 1.0, 0)
        return LossSums(0.3 * cross_entropy(logits, targets[chunk]).sum() + 0.7 * values.sum())

    before = peak_bytes()
    summed_by_chunks(chunk_sums, hidden, [heads[0]], size).loss.backward()
    return {"extra_bytes": peak_bytes() - before}


def peak_bytes() -> float:
    """Largest resident memory of this program: from the kernel's own mark, because `getrusage` begins with that of the
    parent."""
    marks = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(marks[0]) * 1024


def program() -> dict[str, Figure]:
    """Seconds of `srd --help`, and of a finished run called again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(folder / "rows.jsonl", make_rows(40))
        run = command("run", "debug=smoke", "dataset=jsonl", f"dataset.path={folder / 'rows.jsonl'}", "engine=cpu")

        def call(words: list[str]) -> None:
            subprocess.run(words, cwd=folder, env=environment(), check=True, capture_output=True)

        call(run)
        helped = [str(Path(sys.executable).parent / "srd"), "--help"]
        seconds, _ = turn_about({"startup": lambda i: call(helped), "nothing_to_do": lambda i: call(run)}, 5)
    return {
        "startup": cost(seconds["startup"], "s", "<= 0.5", "srd --help"),
        "nothing_to_do": cost(seconds["nothing_to_do"], "s", "<= 5", "a finished run called again"),
    }


def child(module: str, *words: str, **environment: str) -> dict[str, float]:
    """What a function of this file prints in a process of its own."""
    options = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, env=options, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    print(json.dumps(_rank(Path(numbers[0])) if what == "rank" else _loss(*map(int, numbers))))
