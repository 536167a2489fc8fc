"""Taking rows out of a layer, or putting them in another order, with the layers that read them following along.

Comes in: a `Network` and which outputs of a layer stay, in which order. Goes out: a `Network` that computes the same
with fewer or reordered channels. Read by channel pruning and by the row permutation.

Which layers read the rows is found by following the network's graph, or its sequence: `channel_flow`. A reader's
columns belong to the rows in equal blocks: 1 column a row after a fully connected layer, kernel height x width after a
convolution, height x width where a feature map is flattened.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eie.compression.pruning.channel_flow import Flow, stays
from eie.compression.pruning.prune import kept_count
from eie.compression.pruning.selection import (
    Order,
    columns_of,
    layer_named,
    trace_columns,
    with_columns,
    with_rows,
)
from eie.errors import RecipeError
from eie.model import operators
from eie.model.dataflow import dataflow
from eie.model.graph import Graph, Node
from eie.model.layer import Layer
from eie.model.network import Network
from eie.model.operators.channels import Channels
from eie.model.trace import Trace


def select_outputs(network: Network, name: str, order: Order) -> Network:
    """Keep rows ``order`` of layer ``name``, in that order, and the columns of its readers that belong to them.

    Rows of other layers that are tied to those which go, go with them.

    Parameters
    ----------
    order
        Distinct row numbers; all of them for a permutation, fewer for pruning.

    Raises
    ------
    RecipeError
        If something reads the rows that does not say that they survive it, or they are the network's outputs.
    """
    flow = followed(network, name)
    # Not ascending: rows change places, which asks more of their readers than that some of them are missing.
    if np.any(np.diff(order) < 0):
        flow.check_movable(name)
        return flow.reordered({name: order})
    flow.check(name)
    gone = np.delete(flow.classes(name), order).tolist()
    for each in gone:
        if each in flow.reasons:
            raise stays(name, flow.reasons[each])
    return flow.without(gone)


def remove_layer(network: Network, name: str) -> Network:
    """Take a whole layer out; its input becomes its output.

    Raises
    ------
    RecipeError
        If its outputs are not as many as its inputs, the layer is the only one, or nothing says who reads it.
    """
    if not layer_named(network, name).geometry.keeps_shape:
        raise RecipeError([f"layer {name!r}: cannot be taken out: its outputs do not have the shape of its inputs"])
    graph = dataflow(network)
    if graph is None or len(network.layers) == 1:
        raise RecipeError([f"layer {name!r}: cannot be taken out: no other layer is known to read or feed it"])
    if len(graph.uses_by_layer[name]) > 1:
        raise RecipeError([f"layer {name!r}: cannot be taken out: it runs several times"])
    layers = tuple(layer for layer in network.layers if layer.name != name)
    trace = network.trace
    if trace is not None and name in trace.layers:
        position = [layer.name for layer in network.layers].index(name)
        kept = {key: value for key, value in trace.layers.items() if key != name}
        # Its inputs were the network's, and the next layer reads them from now on.
        if position == 0 and network.graph is None:
            kept[layers[0].name] = trace.layers[name]
        trace = (
            Trace(layers=kept, labels=trace.labels, source=trace.source, synthetic=trace.synthetic) if kept else None
        )
    return replace(network, layers=layers, trace=trace, graph=_bypass(network.graph, name))


def keeps_shape(layer: Layer) -> bool:
    """Whether a layer's outputs have the shape of its inputs, so that it could be left out."""
    return layer.geometry.keeps_shape


def removable(network: Network) -> tuple[str, ...]:
    """Names of the layers that `remove_layer` can take out, one at a time."""
    graph = dataflow(network)
    if graph is None or len(network.layers) == 1:
        return ()
    once = [layer for layer in network.layers if len(graph.uses_by_layer[layer.name]) == 1]
    return tuple(layer.name for layer in once if keeps_shape(layer))


def shrinkable(network: Network) -> tuple[str, ...]:
    """Names of the layers some of whose rows `select_outputs` can take out."""
    flow = Flow.of(network)
    if flow is None:
        return ()
    return tuple(layer.name for layer in network.layers if flow.stays(layer.name) is None)


def reasons_to_stay(network: Network) -> dict[str, str]:
    """Return the layers no row of which can be taken out, with why; none where nothing says who reads whom."""
    flow = Flow.of(network)
    if flow is None:
        return {}
    why = {layer.name: flow.stays(layer.name) for layer in network.layers}
    return {name: reason for name, reason in why.items() if reason is not None}


def coupled(network: Network) -> tuple[tuple[str, ...], ...]:
    """Layers in groups whose rows only go together; a layer whose rows cannot go is in none."""
    flow = Flow.of(network)
    return () if flow is None else flow.coupled


def narrowed(network: Network, density: float) -> Network:
    """Keep a share of the channels of every layer of a network of which only the layers' shapes are known.

    Nothing says there who reads whom, so every layer is taken to read pruned ones: all lose the share of their
    inputs and of their outputs, but for the first layer's inputs and the last one's outputs. Which channels stay does
    not matter where weights are drawn at random: the first ones do.

    Raises
    ------
    RecipeError
        If a layer has other channels than a fully connected layer or an ungrouped convolution.
    """
    last = len(network.layers) - 1
    layers, recorded = [], {} if network.trace is None else dict(network.trace.layers)
    for i, layer in enumerate(network.layers):
        _check_kind(layer, layer.name)
        before = layer.geometry.channels[1]
        inputs, outputs = _first(before, density), _first(layer.outputs, density)
        if i > 0:
            columns = columns_of(layer.geometry.columns_per_channel(before), inputs)
            layer = with_columns(layer=layer, columns=columns, channels=len(inputs), channels_before=before)  # noqa: PLW2901
            if layer.name in recorded:
                recorded[layer.name] = trace_columns(recorded[layer.name], columns)
        layers.append(layer if i == last else with_rows(layer, outputs))
    trace = network.trace
    if trace is not None:
        trace = Trace(layers=recorded, labels=trace.labels, source=trace.source, synthetic=trace.synthetic)
    return replace(network, layers=tuple(layers), trace=trace)


def _first(count: int, density: float) -> Order:
    # One at least: what reads no channel is no layer.
    return np.arange(max(1, kept_count(density, count)))


def readers(network: Network, name: str) -> tuple[str, ...]:
    """Names of the layers that read the rows of layer ``name``.

    Raises
    ------
    RecipeError
        If they are not known, or none of the rows can be taken out.
    """
    flow = followed(network, name)
    flow.check(name)
    labels = flow.first[name] + np.arange(layer_named(network, name).outputs)
    read = {
        tensor
        for tensor, channels in flow.tensors.items()
        if channels is not None and np.isin(channels.labels, labels).any()
    }
    return tuple(node.layer for node in flow.graph.nodes if node.layer is not None and read & set(node.inputs))


def followed(network: Network, name: str) -> Flow:
    """Return where the network's channels go.

    Raises
    ------
    RecipeError
        If nothing says who reads whom; names layer ``name``.
    """
    flow = Flow.of(network)
    if flow is None:
        raise RecipeError(
            [f"layer {name!r}: nothing says which layer reads its outputs: give a graph, or a model marked sequential"]
        )
    return flow


def movable(network: Network, name: str) -> None:
    """See that the rows of a layer can be put in any order; errors as of `Flow.check_movable`."""
    followed(network, name).check_movable(name)


def gives_output(network: Network, name: str) -> bool:
    """Whether the rows of fully connected layer ``name`` are the network's only outputs, perhaps through a softmax."""
    graph = dataflow(network)
    if graph is None or not layer_named(network, name).geometry.takes_vectors:
        return False
    if len(graph.uses_by_layer[name]) > 1:
        return False
    tensor = next(node for node in graph.nodes if node.layer == name).outputs[0]
    while tensor not in graph.outputs:
        nodes = [node for node in graph.nodes if tensor in node.inputs]
        if len(nodes) != 1 or not _keeps_numbers(nodes[0]):
            return False
        tensor = nodes[0].outputs[0]
    return graph.outputs == (tensor,) and not any(tensor in node.inputs for node in graph.nodes)


def _keeps_numbers(node: Node) -> bool:
    """Whether behind ``node`` there is one number for each row of a fully connected layer, in the same order."""
    operator = operators.find(node.op)
    if operator is None or len(node.inputs) != 1:
        return False
    # What is told that a channel is one number and keeps it one works on every number alone.
    numbers = Channels(labels=np.arange(1))
    return operator.keeps_places or operator.channels([numbers], node.attributes) is numbers


def _check_kind(layer: Layer, producer: str) -> None:
    kind = layer.geometry.tied
    if kind is None:
        return
    raise RecipeError(
        [f"layer {producer!r}: its outputs cannot be taken out or moved: channels of {layer.name!r}, {kind}, are tied"]
    )


def _bypass(graph: Graph | None, name: str) -> Graph | None:
    """Return the graph without the node of layer ``name``, its readers reading its input."""
    if graph is None:
        return None
    gone = next(node for node in graph.nodes if node.layer == name)
    renamed = {gone.outputs[0]: gone.inputs[0]}
    nodes = tuple(
        replace(node, inputs=tuple(renamed.get(tensor, tensor) for tensor in node.inputs))
        for node in graph.nodes
        if node is not gone
    )
    return replace(graph, nodes=nodes, outputs=tuple(renamed.get(tensor, tensor) for tensor in graph.outputs))
