"""The teacher's signal from disk: what a `Record` kept of every supervised position of the training samples.

Of last hidden states, taken after the final norm as they enter the head, the logits are rebuilt: those of the teacher
for every temperature, divergence and choice of positions, to storage precision. The body runs once per sample instead
of once per pass and need not be loaded.

Axes: N supervised positions, n those of one chunk, R those of one row, H hidden size, W numbers kept of a position, V
vocabulary.
"""

import json
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from srd.distillation.records import record_of
from srd.distillation.shards import token_hash
from srd.errors import UserError
from srd.models.heads import FixedHiddenStates, body_name, head_logits
from srd.models.seq2seq import class_for, is_encoder_decoder
from srd.selection.classes import SparseTarget
from srd.store.files import replace_tensors
from srd.store.rows import read_dicts
from srd.text.batches import Batch
from srd.text.encoding import Encoded

HEAD = "head.safetensors"
INDEX = "index.jsonl"
LAYOUT = "layout.json"


class CachedTeacher:
    """The signal from disk: rows by id, each checked against the tokens it was made from."""

    def __init__(self, folder: Path, vocabulary: int, device: torch.device) -> None:
        layout = json.loads((folder / LAYOUT).read_text())
        self.folder = folder
        self.vocabulary = vocabulary
        self.device = device
        self.record = record_of(layout, vocabulary)
        self.head = load_head(folder, device) if self.record.keeps_logits else None
        self.rows = {row["id"]: row for row in read_dicts(folder / INDEX)}
        # Mapped as integers of the same width, because numpy has no bfloat16; `_read` calls them what they are.
        integers, width = np.dtype(f"u{self.record.dtype.itemsize}"), self.record.width
        # Mapped and not read: a corpus may be larger than memory, and what is read twice stays in the system's cache.
        self.shards = [np.memmap(folder / name, integers, "r").reshape(-1, width) for name in layout["shards"]]
        # The same files once more, for `prefetch`: advice is given by a file's number, which a memmap does not tell.
        self.files = [(folder / name).open("rb") for name in layout["shards"]]

    def states(self, batch: Batch) -> Float[Tensor, "N W"] | UInt8[Tensor, "N W"]:
        """What is kept of the batch's rows, in the order of its labels."""
        states = torch.cat([self._read(row) for row in batch.rows])
        if self.device.type != "cuda":
            return states.to(self.device)
        # From pinned memory the copy runs while the student is computed; from any other the program waits for it.
        return states.pin_memory().to(self.device, non_blocking=True)

    def target(self, states: Float[Tensor, "n W"] | UInt8[Tensor, "n W"]) -> Float[Tensor, "n V"] | SparseTarget:
        """Logits rebuilt through the teacher's own head, or the classes that were kept."""
        with torch.no_grad():
            found = self.record.unpack(states)
            if self.head is None or isinstance(found, SparseTarget):
                assert isinstance(found, SparseTarget)
                return found
            # The head in the weights' own type, not the storage's: half-precision states cost a rounding of their own,
            # a half-precision product of width H would cost another.
            return head_logits(self.head, found.to(self.head.dtype), self.vocabulary)

    def prefetch(self, rows: list[Encoded]) -> None:
        """Have the system read these rows from the disk while something else is computed."""
        # Rows are shuffled, so the system cannot guess what is read next: without this every row is a wait for the
        # disk. The advice returns at once, so it needs no thread.
        if not hasattr(os, "posix_fadvise"):  # macOS reads when it is asked
            return
        bytes_each = self.record.width * self.record.dtype.itemsize
        for row in rows:
            entry = self.rows.get(row.id)
            if entry is None:
                continue  # said when the row is asked for
            file, first = self.files[entry["shard"]].fileno(), entry["first"] * bytes_each
            os.posix_fadvise(file, first, row.num_supervised * bytes_each, os.POSIX_FADV_WILLNEED)

    def _read(self, row: Encoded) -> Float[Tensor, "R W"] | UInt8[Tensor, "R W"]:
        # Hashes are compared on every read: states of other tokens would be a wrong teacher that nobody notices.
        entry = self.rows.get(row.id)
        if entry is None or entry["tokens"] != token_hash(row):
            state = "is not in it" if entry is None else "has other tokens there"
            raise UserError(f"{self.folder}: sample {row.id} {state}; delete the folder to make the cache again")
        stored = self.shards[entry["shard"]][entry["first"] : entry["first"] + row.num_supervised]
        # Copied out of the map: torch would warn of memory that cannot be written.
        return torch.from_numpy(np.array(stored)).view(self.record.dtype)


def save_head(model: PreTrainedModel, folder: Path) -> None:
    """Leave the head's weights and the model's config, from which `load_head` makes it again."""
    model.config.save_pretrained(folder)
    head = model.get_output_embeddings()
    replace_tensors(folder / HEAD, head.state_dict())  # pyright: ignore[reportOptionalMemberAccess]


def load_head(folder: Path, device: torch.device) -> PreTrainedModel:
    """The teacher without its body, for `head_logits`; one that needs more than its head is a `UserError`."""
    tensors = load_file(folder / HEAD)
    dtype = next(iter(tensors.values())).dtype
    # The whole model is made, because what follows its head is in its class; on the meta device, where it has shapes
    # and takes no memory. Then its body goes and its head gets weights.
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = class_for(config).from_config(config, dtype=dtype)
    head = model.get_output_embeddings()
    # An encoder-decoder model's parts stand side by side; what scales their states is passed over with them.
    parts = [name for name, part in model.named_children() if part is not head]
    for body in parts if is_encoder_decoder(config) else [body_name(model)]:
        # Kept beside, without weights: a model may read settings that are written there (a multiplier).
        setattr(model, body, FixedHiddenStates(getattr(model, body)))
    head.load_state_dict(tensors, assign=True)
    # Whatever still has no memory was never saved: the model would compute with it after its head.
    left = [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    if left:
        raise UserError(
            f"teacher.signal=hidden: {type(model).__name__} needs {left[0]} after its head; use teacher.signal=online"
        )
    nn.Module.to(model, device)
    return model.eval()
