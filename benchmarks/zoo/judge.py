"""A file read, run as it was read in float32, and set beside what onnxruntime or torch says.

Comes in: a path, inputs by name and the right answers. Goes out: a `Verdict`. Read by `exports` and `measure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import eie
from eie.importers.onnx.reader import read_onnx
from eie.simulator.reference import run_given

# Of an output's largest magnitude, or of 1 where that is smaller: the bound of the table.
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a file.

    Attributes
    ----------
    layers
        How many there are.
    whole
        It loads as it is, with a graph, and no weights are left out.
    error
        Largest difference of an output to the right one; None if it did not run.
    reason
        Why it is not whole, or did not run; empty if it is and did.
    """

    layers: int = 0
    whole: bool = False
    error: float | None = None
    reason: str = ""

    @property
    def right(self) -> bool:
        """Whether it is whole and equal."""
        return self.whole and self.error is not None and self.error <= TOLERANCE


def read(path: Path, feed: Mapping[str, np.ndarray]) -> tuple[eie.Network, dict[str, int]]:
    """Return the network and the batch axis of every input, open sizes being those of the inputs."""
    model = read_onnx(path, "refuse")
    return model.network, {entry.name: entry.batch for entry in model.inputs}


def judged(path: Path, feed: Mapping[str, np.ndarray], answers: Sequence[np.ndarray]) -> Verdict:
    """Read and run a file."""
    try:
        network, batches = read(path, feed)
    except eie.EieError as error:
        return Verdict(reason=str(error).removeprefix(f"{path}: "))
    if network.graph is None or network.unmodelled:
        return Verdict(layers=len(network.layers), reason="; ".join(network.unmodelled) or "no graph")
    try:
        made = run(network, feed, batches)
    except eie.EieError as error:
        return Verdict(layers=len(network.layers), whole=True, reason=str(error))
    return Verdict(layers=len(network.layers), whole=True, error=largest(made, answers))


def run(network: eie.Network, feed: Mapping[str, np.ndarray], batches: Mapping[str, int]) -> tuple[np.ndarray, ...]:
    """Run a network as it was read; its inputs have the batch in front."""
    inputs = {name: np.moveaxis(feed[name], batches[name], 0) for name, _ in network.graph.inputs}
    return run_given(network.graph, {layer.name: layer for layer in network.layers}, inputs)


def largest(made: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> float:
    """Largest difference, relative where an output is larger than 1; infinity where shapes differ."""
    worst = 0.0
    for ours, right in zip(made, answers, strict=False):
        if ours.size != right.size:
            return float("inf")
        ours = _in_place(ours, right.shape)
        scale = max(1.0, float(np.abs(right).max(initial=0)))
        worst = max(worst, float(np.abs(ours.astype(np.float64) - right).max(initial=0)) / scale)
    return worst


def _in_place(ours: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Put the batch back to where the file has it: the axis that makes the shapes equal."""
    for axis in range(ours.ndim):
        moved = np.moveaxis(ours, 0, axis)
        if moved.shape == shape:
            return moved
    return ours.reshape(shape)
