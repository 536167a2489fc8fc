"""A network as it was read, run in float32, and set beside what onnxruntime or torch says.

Comes in: a path, inputs by name and the right answers. Goes out: a `Verdict`. Read by `exports` and `measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import eie
from eie.importers.onnx.tensors import embed_external
from eie.importers.options import FedShapes
from eie.model.host import host_work
from eie.simulator.reference import run_given

# Of an output's largest magnitude, or of 1 where that is smaller: the bound of the table. Where a file quantises its
# activations as it runs, onnxruntime rounds them and we do not.
TOLERANCE, QUANTISED = 1e-4, 2e-2
# Right answers for tensors of a file, by name; names that it does not have are left out.
Answers = Callable[[Sequence[str]], Mapping[str, np.ndarray]]


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
    products, activations
        Multiplications of the layers, and of products of two activations on the host, for what was run.
    """

    layers: int = 0
    whole: bool = False
    error: float | None = None
    reason: str = ""
    products: int = 0
    activations: int = 0

    def right(self, tolerance: float = TOLERANCE) -> bool:
        """Whether it is whole and equal."""
        return self.whole and self.error is not None and self.error <= tolerance


def read(
    path: Path, feed: Mapping[str, np.ndarray], batches: Mapping[str, int], values: Mapping[str, float] | None = None
) -> eie.Network:
    """Read a file whose open sizes are those of ``feed``, as the file takes it; ``batches`` are axes other than 0."""
    return eie.load(path, input_shape=FedShapes.of(batch_first(feed, batches)), input_values=values or None)


def batch_first(feed: Mapping[str, np.ndarray], batches: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return inputs as a network takes them."""
    return {name: np.moveaxis(array, batches.get(name, 0), 0) if array.ndim else array for name, array in feed.items()}


def as_taken(network: eie.Network, feed: Mapping[str, np.ndarray], batches: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the inputs that a network takes, samples in front; a state that is all of it one is the only one."""
    assert network.graph is not None
    moved = batch_first(feed, batches)
    return {
        name: feed[name][None] if feed[name].shape == shape else moved[name] for name, shape in network.graph.inputs
    }


def judged(path: Path, feed: Mapping[str, np.ndarray], answers: Answers, batches: Mapping[str, int]) -> Verdict:
    """Read and run a file."""
    try:
        network = read(path, feed, batches)
    except eie.EieError as error:
        return Verdict(reason=str(error).removeprefix(f"{path}: "))
    return judged_network(network, feed=feed, answers=answers, batches=batches)


def judged_network(
    network: eie.Network,
    *,
    feed: Mapping[str, np.ndarray],
    answers: Answers,
    batches: Mapping[str, int],
) -> Verdict:
    """Run a network as it was read."""
    layers = len(network.layers)
    if network.graph is None or network.unmodelled:
        return Verdict(layers=layers, reason="not modelled: " + "; ".join(network.unmodelled) or "no graph")
    uses = network.graph.uses
    # What layers make tells how often each multiplied.
    tapped = replace(network.graph, outputs=(*network.graph.outputs, *(node.outputs[0] for node in uses.values())))
    try:
        wanted = as_taken(network, feed, batches)
        made = run_given(tapped, {layer.name: layer for layer in network.layers}, wanted)
    except eie.EieError as error:
        return Verdict(layers=layers, whole=True, reason=str(error))
    # A network may end before an operator that no layer reads: what it gives has a name in the file all the same.
    named = dict(zip(network.graph.outputs, made, strict=False))
    by_name = {layer.name: layer for layer in network.layers}
    ran = zip(uses.values(), made[len(network.graph.outputs) :], strict=True)
    work = host_work(network.graph)
    counts = {
        "products": sum(_products(by_name[str(node.layer)], y) for node, y in ran),
        "activations": 0 if work is None else work.multiplications * max(map(len, wanted.values())),
    }
    right = answers(list(named))
    if not right:
        return Verdict(
            layers=layers, whole=True, **counts, reason=f"gives {', '.join(named)}, which the file does not have"
        )
    worst = max(difference(named[name], array) for name, array in right.items())
    return Verdict(layers=layers, whole=True, error=worst, **counts)


def _products(layer: eie.Layer, made: np.ndarray) -> int:
    """Count the multiplications of a dense layer by what it made: (samples, steps, hidden) of a recurrent one."""
    outputs, inputs = layer.geometry.dense_shape
    if layer.geometry.recurrence is not None:
        return made.shape[0] * made.shape[1] * outputs * inputs
    return made.size * inputs


def difference(ours: np.ndarray, right: np.ndarray) -> float:
    """Largest difference, relative where the right answer is larger than 1; infinity where shapes differ."""
    if ours.size != right.size:
        return float("inf")
    placed = _in_place(ours, right.shape).astype(np.float64)
    scale = max(1.0, float(np.abs(right).max(initial=0)))
    return float(np.abs(placed - right).max(initial=0)) / scale


def _in_place(ours: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Put the batch back to where the file has it: the axis that makes the shapes equal."""
    for axis in range(ours.ndim):
        moved = np.moveaxis(ours, 0, axis)
        if moved.shape == shape:
            return moved
    # Where all of a tensor was one sample's, its own batch of one is there as well.
    for axis in range(1, ours.ndim):
        joined = np.concatenate(list(ours), axis - 1)
        if ours.shape[axis] == 1 and joined.shape == shape:
            return joined
    return ours.reshape(shape)


def onnxruntime_answers(
    path: Path, feed: Mapping[str, np.ndarray], expanded: Callable[[], Any] | None = None
) -> Answers:
    """Return what makes onnxruntime's answers for any tensors of a file.

    ``expanded`` gives the file with bodies of If and Loop in their places, for names that it has there only.
    """

    def answers(names: Sequence[str]) -> dict[str, np.ndarray]:
        import onnx

        model = onnx.load(str(path))
        made = {name for node in model.graph.node for name in node.output}
        if expanded is not None and not made & set(names):
            model = expanded()
            # Large weights stay in the file, to which bytes have no path.
            embed_external(model, path)
            made = {name for node in model.graph.node for name in node.output}
        wanted = [name for name in names if name in made]
        if not wanted:
            return {}
        del model.graph.output[:]
        # Without type and shape: onnxruntime infers them, and a wrong one would be refused.
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
        results = session(model.SerializeToString()).run(
            wanted, {entry.name: feed[entry.name] for entry in model.graph.input if entry.name in feed}
        )
        return dict(zip(wanted, map(np.asarray, results), strict=True))

    return answers


def session(model: bytes | str) -> Any:
    """Return an onnxruntime session of a file or its bytes, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # What the file says, operator by operator: fusions would round differently.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
