"""Recording with eie itself, for models that no other framework runs: the network as given, in float32.

Comes in: a `Network` whose layers feed each other, and `Samples`. Goes out: layer traces. Called by `record`. Weights
are not shared and biases not moved first, as little as in onnxruntime or torch: a trace belongs to the model, whatever
machine it is then run on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eie.errors import TraceError
from eie.model.fitting import Layout
from eie.model.network import Network, dataflow
from eie.model.samples import Samples
from eie.recording.feeds import Entrance, Feeds
from eie.recording.rows import Ran, Recorder
from eie.simulator.reference import run_given


def run_own(network: Network, samples: Samples, batch: int, recorder: Recorder, layout: Layout | None = None) -> Ran:
    """Record all samples, ``batch`` at a time.

    Raises
    ------
    TraceError
        If the layers are not connected, or the samples do not fit the network's inputs.
    """
    flow = dataflow(network)
    if flow is None:
        raise TraceError(f"{network.source}: its layers do not feed each other, so nothing can be recorded")
    layers = {layer.name: layer for layer in network.layers}
    nodes = [(layers[node.layer], node) for node in flow.nodes if node.layer is not None]
    # Each layer's input and what it made of it, in turn: a recurrent layer's rows need both.
    tapped = replace(flow, outputs=tuple(name for _, node in nodes for name in (node.inputs[0], node.outputs[0])))
    entrances = [Entrance(name=name, shape=shape, kind=flow.type_of(name)) for name, shape in flow.inputs]
    feeds = Feeds.of(samples, entrances, layout=layout, where=network.source)
    for values, kept in feeds.batches(batch, fill=False):
        tensors = iter(run_given(tapped, layers, values))
        # One iterator twice: zip takes from it by pairs.
        for (layer, node), x, y in zip(nodes, tensors, tensors, strict=True):
            # The recorder wants the batch first, wherever this node has it.
            axis = node.attributes.get("batch_axis", 0)
            recorder.add(layer, kept, np.moveaxis(x, axis, 0), hidden=np.moveaxis(y, axis, 0))
    drawn = any(layer.synthetic for layer in network.layers)
    return Ran(shapes=feeds.shapes(), said="its weights are synthetic" if drawn else "")
