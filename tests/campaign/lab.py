"""What all cases rest on: rows, weights, and the uninterrupted run of every variant, each made once a campaign."""

import multiprocessing
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.commands import COUNTED, srd
from tests.campaign.variants import overrides
from tests.conftest import make_rows
from tests.reading import write_jsonl

STUDY = "smoke"


@dataclass(frozen=True)
class Sound:
    """A run that nobody disturbed."""

    words: list[str]
    outputs: Path
    writes: int
    seconds: float


class Lab:
    """A folder with the inputs of all cases, the sound runs, and a folder for every case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._sound: dict[str, Sound] = {}
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_jsonl(self.folder / "rows.jsonl", make_rows(40))
        write_jsonl(self.folder / "corpus.jsonl", [{"text": row["output"]} for row in make_rows(12)])
        # In a process of its own, which loads torch and ends: the campaign itself stays small.
        maker = multiprocessing.get_context("spawn").Process(target=_save_pair, args=(self.folder,))
        maker.start()
        maker.join()
        assert maker.exitcode == 0, "the weights could not be made"

    def case(self, name: str) -> Path:
        """An empty folder for one case."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def sound(self, variant: str) -> Sound:
        """The uninterrupted run of a variant."""
        if variant not in self._sound:
            folder = self.case(f"sound/{variant.replace(' ', '-').replace(',', '')}")
            words = ["run", *overrides(variant, self.folder)]
            begin = time.monotonic()
            ran = srd(*words, cwd=folder)
            seconds = time.monotonic() - begin
            if ran.code != 0:
                raise RuntimeError(f"the sound run of '{variant}' ended with {ran.code}: {' / '.join(ran.told[-3:])}")
            self._sound[variant] = Sound(words, folder / "outputs", int((folder / COUNTED).read_text()), seconds)
        return self._sound[variant]


def _save_pair(folder: Path) -> None:
    """A teacher and a student with random weights and one small tokenizer."""
    from srd.stages.tokenizer import train_bpe
    from tests.small import model

    tokens = train_bpe([f"{row['instruction']}\n{row['input']}\n{row['output']}" for row in make_rows(40)], 320)
    for number, role in enumerate(("teacher", "student")):
        model("llama", len(tokens), seed=number, max_position_embeddings=128).save_pretrained(folder / role)
        tokens.save_pretrained(folder / role)
