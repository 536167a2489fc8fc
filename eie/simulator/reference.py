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
from eie.model import operators
from eie.model.geometry import Conv2d, Lstm
from eie.model.graph import Graph, Node
from eie.model.network import Layer
from eie.simulator.functional import slices
from eie.simulator.network import walk
from eie.simulator.recurrence import initial_state, lstm_steps

Array = NDArray[Any]


def run_given(graph: Graph, layers: Mapping[str, Layer], inputs: Mapping[str, Array]) -> tuple[Array, ...]:
    """Run a graph on a batch in float32 with the layers' own weights; inputs (N, *shape)."""

    def run(node: Node, values: Sequence[Array]) -> tuple[Array, ...]:
        if node.layer is None:
            return (operators.apply(name=node.name, op=node.op, inputs=values, attributes=node.attributes),)
        layer, axis = layers[node.layer], node.attributes.get("batch_axis", 0)
        if isinstance(layer.geometry, Lstm):
            return _lstm(layer=layer, lstm=layer.geometry, values=values, axis=axis)
        if isinstance(layer.geometry, Conv2d):
            made = _conv(layer, layer.geometry, values[0])
        elif values[0].shape[-1] == layer.inputs:
            made = _multiplier(layer)(values[0])
        else:
            raise ModelError(f"layer {layer.name!r} takes {layer.inputs} inputs, its input has shape {values[0].shape}")
        return (np.maximum(made, 0) if layer.relu else made,)

    started = {name: np.asarray(inputs[name], np.float32) for name, _ in graph.inputs}
    return walk(graph=graph, started=started, run=run, constant=lambda array: array)


def _multiplier(layer: Layer) -> Callable[[Array], Array]:
    """Return ``x -> W x + b`` over the last axis; the dense weights are made once."""
    weights, bias = layer.weights.T, layer.bias
    if layer.bias_codes is not None and layer.codebook is not None:
        bias = layer.codebook[layer.bias_codes]
    shift = np.float32(0) if bias is None else bias
    return lambda x: x @ weights + shift


def _conv(layer: Layer, conv: Conv2d, x: Array) -> Array:
    windows = conv.windows(x)
    parts = slices(int(np.prod(windows.shape[:3])), layer.inputs)
    product = _multiplier(layer)
    rows = [product(conv.unroll(windows, start, stop)) for start, stop in parts]
    return conv.fold(np.concatenate(rows), len(x), conv.output_size(*x.shape[2:]))


def _lstm(layer: Layer, lstm: Lstm, values: Sequence[Array], axis: int) -> tuple[Array, ...]:
    x = np.moveaxis(values[0], axis, 0)
    h, c = initial_state(lstm, len(x), values[1:])
    _, hidden, last = lstm_steps(
        lstm=lstm, x=x, h=h, c=c, product=_multiplier(layer), stored=lambda one: one.astype(np.float32)
    )
    return (np.moveaxis(hidden.astype(np.float32), 0, axis), *last)
