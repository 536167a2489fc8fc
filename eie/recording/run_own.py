"""Recording with eie itself, for models that no other framework runs: the network as given, in float32.

Comes in: a `Network` whose layers feed each other, and `Samples`. Goes out: layer traces. Called by `record`. Weights
are not shared and biases not moved first, as little as in onnxruntime or torch: a trace belongs to the model, whatever
machine it is then run on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eie.errors import TraceError
from eie.model.fitting import Layout, fitted
from eie.model.network import Network, dataflow
from eie.model.samples import Samples
from eie.recording.inputs import with_batch
from eie.recording.rows import Recorder
from eie.simulator.reference import run_given


def run_own(network: Network, samples: Samples, batch: int, recorder: Recorder, layout: Layout | None = None) -> None:
    """Record all samples, ``batch`` at a time.

    Raises
    ------
    TraceError
        If the layers are not connected, or the samples do not fit the network's input.
    """
    flow = dataflow(network)
    if flow is None:
        raise TraceError(f"{network.source}: its layers do not feed each other, so nothing can be recorded")
    if len(flow.inputs) != 1:
        raise TraceError(f"{network.source}: has {len(flow.inputs)} inputs: recording feeds networks with one")
    layers = {layer.name: layer for layer in network.layers}
    # The input of each use and what it made of it, in turn: a recurrent layer's rows need both.
    tapped = replace(
        flow, outputs=tuple(name for node in flow.uses.values() for name in (node.inputs[0], node.outputs[0]))
    )
    entrance, shape = flow.inputs[0]
    where = f"{network.source}: input {entrance!r}"
    for part in with_batch(samples, shape, layout).batches(batch):
        values = fitted(part, shape, where, layout=layout, batched=True)
        tensors = iter(run_given(tapped, layers, {entrance: values}))
        # One iterator twice: zip takes from it by pairs.
        for (use, node), x, y in zip(flow.uses.items(), tensors, tensors, strict=True):
            # The recorder wants the batch first, wherever this node has it.
            axis = node.attributes.get("batch_axis", 0)
            layer = layers[str(node.layer)]
            recorder.add(layer, len(part), np.moveaxis(x, axis, 0), hidden=np.moveaxis(y, axis, 0), use=use)
