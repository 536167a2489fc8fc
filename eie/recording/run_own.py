"""Recording with eie itself, for models that no other framework runs: the network as given, in float32.

Comes in: a `Network` whose layers feed each other, and `Samples`. Goes out: layer traces. Called by `record`. Weights
are not shared and biases not moved first, as little as in onnxruntime or torch: a trace belongs to the model, whatever
machine it is then run on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError
from eie.model import host
from eie.model.dataflow import dataflow
from eie.model.fitting import Layout
from eie.model.graph import Graph, Node
from eie.model.layer import Layer
from eie.model.network import Network
from eie.model.samples import Samples
from eie.recording.attribution import Axes, Batch, Read, attributed
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
    runner = _Runner(flow=flow, layers={layer.name: layer for layer in network.layers})
    entrances = [Entrance(name=name, shape=shape, kind=flow.type_of(name)) for name, shape in flow.inputs]
    feeds = Feeds.of(samples, entrances, layout=layout, where=network.source)
    size, said = min(batch, samples.count), []
    run: Callable[[Batch], Sequence[Read]] = partial(runner.run, axes=runner.axes())
    places: Sequence[NDArray[np.int64] | None] = [None] * len(runner.names)
    if any(node.op == host.OP for node in flow.nodes):
        # Our own operators have the batch where the graph says; what a host part does with its samples is seen only.
        taken = attributed(runner, feeds, size=size, fixed=False)
        size, run, places, said = taken.size, taken.run, taken.places, [taken.said] if taken.said else []
    for values, kept in feeds.batches(size, fill=True):
        for (use, node), read, own in zip(flow.uses.items(), run(values), places, strict=True):
            layer = runner.layers[str(node.layer)]
            recorder.add(layer, size, read.x, hidden=read.hidden, first=read.first, kept=kept, places=own, use=use)
    if any(layer.synthetic for layer in network.layers):
        said.append("its weights are synthetic")
    return Ran(shapes=feeds.shapes(), said="; ".join(said))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Runner:
    """A network in float32, and what its layers read of a batch."""

    flow: Graph
    layers: Mapping[str, Layer]

    @property
    def names(self) -> list[str]:
        """Uses of layers, in their order."""
        return list(self.flow.uses)

    def axes(self) -> Axes:
        """Return where inputs have the batch: in front, whatever a file had."""
        return {name: 0 for name, _ in self.flow.inputs}

    def turned(self) -> None:
        """Say that there is no other way to feed it: what reads time first has its axes in the graph."""

    def run(self, batch: Batch, axes: Axes) -> list[Read]:
        """Return what each use reads of samples (N, ...), batch first."""
        del axes
        nodes = list(self.flow.uses.values())
        # The input of each use, what it made of it, and of a recurrent one whose states are fed the one in its rows.
        tapped = replace(
            self.flow, outputs=tuple(name for n in nodes for name in (n.inputs[0], n.outputs[0], *n.inputs[1:2]))
        )
        tensors = iter(run_given(tapped, self.layers, batch))
        return [_read(node, tensors) for node in nodes]


def _read(node: Node, tensors: Iterator[NDArray[Any]]) -> Read:
    x, y = next(tensors), next(tensors)
    first = next(tensors) if node.inputs[1:] else None
    # The recorder wants the batch first, wherever this node has it.
    axis = node.attributes.get("batch_axis", 0)
    return Read(x=np.moveaxis(x, axis, 0), hidden=np.moveaxis(y, axis, 0), first=first)
