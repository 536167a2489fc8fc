"""The network as it was given, in float32: before weight sharing, without the accelerator.

Comes in: a `Graph` and uncompiled layers. Goes out: the network's outputs. Read by the run, for the accuracy that
compression started from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model import host, operators
from eie.model.graph import Graph, Node
from eie.model.layer import Layer
from eie.simulator.functional import SLICE_ELEMENTS
from eie.simulator.network import walk

Array = NDArray[Any]


def run_given(graph: Graph, layers: Mapping[str, Layer], inputs: Mapping[str, Array]) -> tuple[Array, ...]:
    """Run a graph on a batch in float32 with the layers' own weights; inputs (N, *shape)."""

    def run(node: Node, values: Sequence[Array]) -> tuple[Array, ...]:
        if node.op == host.OP:
            return tuple(host.run_part(node, values))
        if node.layer is None:
            return (operators.apply(name=node.name, op=node.op, inputs=values, attributes=node.attributes),)
        return _run_layer(layers[node.layer], node, values)

    started = {name: np.asarray(inputs[name], graph.type_of(name)) for name, _ in graph.inputs}
    return walk(graph=graph, started=started, run=run)


def _run_layer(layer: Layer, node: Node, values: Sequence[Array]) -> tuple[Array, ...]:
    geometry, axis = layer.geometry, node.attributes.get("batch_axis", 0)
    product = _multiplier(layer)
    # Vectors lie along the last axis wherever the batch is: moving it would only cost a copy.
    x = values[0] if geometry.takes_vectors else np.moveaxis(values[0], axis, 0)
    try:
        if (recurrence := geometry.recurrence) is not None:
            recurrence.check(x)
            state = recurrence.initial_state(len(x), values[1:])
            walked = recurrence.walk(x, state, product=product, stored=lambda part: part.astype(np.float32))
            return (np.moveaxis(walked.outputs.astype(np.float32), 0, axis), *walked.last)
        made = geometry.apply(x, product, max(1, SLICE_ELEMENTS // layer.inputs))
    except ModelError as error:
        raise ModelError(f"layer {layer.name!r}: {error}") from None
    made = made if geometry.takes_vectors else np.moveaxis(made, 0, axis)
    return (np.maximum(made, 0) if layer.relu else made,)


def _multiplier(layer: Layer) -> Callable[[Array], Array]:
    """Return ``x -> W x + b`` over the last axis; the dense weights are made once."""
    weights, bias = layer.weights.T, layer.bias
    if layer.bias_codes is not None and layer.codebook is not None:
        bias = layer.codebook[layer.bias_codes]
    shift = np.float32(0) if bias is None else bias
    return lambda x: x @ weights + shift
