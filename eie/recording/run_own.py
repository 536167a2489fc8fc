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
    # The input of each use and what it made of it, in turn: a recurrent layer's rows need both.
    tapped = replace(
        flow,
        # Of a recurrent layer whose states are fed, also the one that goes into its rows.
        outputs=tuple(
            name for node in flow.uses.values() for name in (node.inputs[0], node.outputs[0], *node.inputs[1:2])
        ),
    )
    entrances = [Entrance(name=name, shape=shape, kind=flow.type_of(name)) for name, shape in flow.inputs]
    feeds = Feeds.of(samples, entrances, layout=layout, where=network.source)
    for values, kept in feeds.batches(batch, fill=False):
        tensors = iter(run_given(tapped, layers, values))
        for use, node in flow.uses.items():
            x, y = next(tensors), next(tensors)
            first = next(tensors) if node.inputs[1:] else None
            # The recorder wants the batch first, wherever this node has it.
            axis = node.attributes.get("batch_axis", 0)
            layer = layers[str(node.layer)]
            recorder.add(layer, kept, np.moveaxis(x, axis, 0), hidden=np.moveaxis(y, axis, 0), first=first, use=use)
    drawn = any(layer.synthetic for layer in network.layers)
    return Ran(shapes=feeds.shapes(), said="its weights are synthetic" if drawn else "")
