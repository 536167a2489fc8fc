"""How many answers of a network are right, in float32 with the layers' own weights.

Comes in: a `Network` and labelled inputs. Goes out: outputs, or a share of right answers. Read by runs, compression and
studies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.model.dataflow import dataflow
from eie.model.network import Network
from eie.model.samples import Samples
from eie.simulator.inputs import Inputs, given_inputs
from eie.simulator.reference import run_given

SAMPLES = 512  # run at a time
# What to do where `given_samples` has nothing.
INPUTS_NEEDED = (
    "labelled ones for accuracy, others for the relative output error; as .npy or .npz, since a trace of layers holds "
    "what the network itself reads only where they are a plain sequence"
)


def labelled_inputs(network: Network, inputs: Inputs = None) -> Samples | None:
    """Return the inputs as arrays with their labels, as `given_samples`; None without labels."""
    samples = given_samples(network, inputs)
    return None if samples is None or samples.labels is None else samples


def given_samples(network: Network, inputs: Inputs = None) -> Samples | None:
    """Return the inputs as arrays, with their labels if they have any.

    Parameters
    ----------
    inputs
        As for `eie.simulate`; the network's own trace by default.

    Returns
    -------
    None without values, or where the layers do not feed each other.
    """
    flow = dataflow(network)
    if flow is None or (inputs is None and network.trace is None):
        return None
    # Sorted out as the simulator does it, so that float32 and fixed point are judged on the very same samples.
    labelled = given_inputs(layers=network.layers, dataflow=flow, activations=inputs, own=network.trace)
    arrays = labelled.loaded()
    # A trace of every layer leaves the network's own inputs empty: the first layer's rows are those inputs, but only in
    # a plain sequence.
    if not arrays:
        # None where the trace kept masks only: nothing can be computed from a pattern.
        values = labelled.layers[network.layers[0].name].dense()
        if network.graph is not None or values is None:
            return None
        arrays = {flow.inputs[0][0]: values}
    return Samples(arrays=arrays, labels=labelled.labels, source=labelled.source, synthetic=labelled.synthetic)


def float32_outputs(network: Network, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return the network's (first) output for arrays (N, *shape) by the name of its input."""
    flow = dataflow(network)
    assert flow is not None
    # The first output: labels are of one answer a sample, a second output would have none.
    outputs: NDArray[np.float32] = run_given(flow, {layer.name: layer for layer in network.layers}, arrays)[0]
    return outputs


def right_answers(outputs: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """bool (N,): whether each sample's largest output is its class; None if outputs are not (N, classes[, 1, 1])."""
    # A global average pool leaves a 1x1 map, (N, classes, 1, 1); a larger map is no set of scores.
    scores = outputs.reshape(outputs.shape[:2]) if outputs.ndim > 2 and outputs[0].size == outputs.shape[1] else outputs
    # Fewer labels than outputs: nobody could say which sample each belongs to.
    if scores.ndim != 2 or len(scores) != len(labels):
        return None
    right: NDArray[np.bool_] = scores.argmax(axis=1) == labels
    return right


def float32_accuracy(network: Network, inputs: Inputs = None) -> float | None:
    """Share of samples whose largest output is the labelled class; None where `labelled_inputs` has nothing."""
    labelled = labelled_inputs(network, inputs)
    if labelled is None:
        return None
    parts = [labelled.part(start, start + SAMPLES) for start in range(0, labelled.count, SAMPLES)]
    answers = []
    for part in parts:
        # Part by part: every layer's maps of all samples would not fit memory.
        right = right_answers(float32_outputs(network, part.loaded()), part.classes)
        if right is None:
            return None
        answers.append(right)
    return float(np.concatenate(answers).mean())
