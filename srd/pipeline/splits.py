"""Samples that a later stage will miss: found when they are made, not after hours."""

from srd.config import Config
from srd.errors import UserError
from srd.pipeline import graph
from srd.store.artefacts import Node
from srd.store.manifests import read_manifest


def check_splits(cfg: Config, node: Node) -> None:
    """A `UserError` for a split of the finished samples `node` that the run needs and that is empty."""
    counts = read_manifest(node.folder(cfg.outputs))["ledger"]["samples"]
    suites = {graph.suite(cfg, name).fingerprint for name in cfg.evaluate.suites}
    needed = ["test"] if node.fingerprint in suites else []
    if graph.samples(cfg.dataset).fingerprint == node.fingerprint:
        needed += ["train", "dev"]
    for name in needed:
        if counts[name] == 0:
            held = f"{counts['dev']} dev and {counts['test']} test samples took all; "
            held += "lower dataset.dev_samples and test_samples"
            hint = held if name == "train" else f"hold some out of the training split with dataset.{name}_samples"
            raise UserError(f"{node.settings['name']}: no {name} samples; {hint}")
