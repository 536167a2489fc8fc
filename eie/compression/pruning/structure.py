"""Taking rows out of a layer, or putting them in another order, with the layers that read them following along.

Comes in: a `Network` and which outputs of a layer stay, in which order. Goes out: a `Network` that computes the same
with fewer or reordered channels. Read by channel pruning and by the row permutation.

Which layers read the rows is found by following the network's graph, or its sequence. A reader's
columns belong to the rows in equal blocks: 1 column a row after a fully connected layer, kernel height x width after a
convolution, height x width where a feature map is flattened.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eie.compression.pruning.prune import kept_count
from eie.errors import RecipeError
from eie.model import operators
from eie.model.graph import Graph, Node
from eie.model.matrix import SparseColumns, frozen
from eie.model.network import Layer, Network, dataflow
from eie.model.trace import LayerTrace, Trace

Order = NDArray[np.int64]


def select_outputs(network: Network, name: str, order: Order) -> Network:
    """Keep rows ``order`` of layer ``name``, in that order, and the columns of its readers that belong to them.

    Parameters
    ----------
    order
        Distinct row numbers; all of them for a permutation, fewer for pruning.

    Raises
    ------
    RecipeError
        If nothing reads the layer (its rows are the network's outputs), or something reads it that is not followed.
    """
    # First whether anyone may follow: only then is there a geometry with other outputs.
    following = readers(network, name)
    rows = layer_named(network, name).outputs
    changed = {name: with_rows(layer_named(network, name), order)}
    recorded: dict[str, LayerTrace] = dict(network.trace.layers) if network.trace is not None else {}
    for reader in following:
        layer = layer_named(network, reader)
        columns = _columns_of(layer=layer, rows=rows, order=order, producer=name)
        changed[reader] = _with_columns(
            layer=changed.get(reader, layer), columns=columns, channels=len(order), channels_before=rows
        )
        if reader in recorded and recorded[reader].width == layer.inputs:
            recorded[reader] = _trace_columns(recorded[reader], columns)
    trace = network.trace
    if trace is not None:
        trace = Trace(layers=recorded, labels=trace.labels, source=trace.source, synthetic=trace.synthetic)
    layers = tuple(changed.get(layer.name, layer) for layer in network.layers)
    return replace(network, layers=layers, trace=trace)


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
    """Names of the layers whose rows `select_outputs` can take out."""
    names = []
    for layer in network.layers:
        try:
            readers(network, layer.name)
        except RecipeError:
            continue
        names.append(layer.name)
    return tuple(names)


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
            columns = _columns_of(layer=layer, rows=before, order=inputs, producer=layer.name)
            layer = _with_columns(layer=layer, columns=columns, channels=len(inputs), channels_before=before)  # noqa: PLW2901
            if layer.name in recorded:
                recorded[layer.name] = _trace_columns(recorded[layer.name], columns)
        layers.append(layer if i == last else with_rows(layer, outputs))
    trace = network.trace
    if trace is not None:
        trace = Trace(layers=recorded, labels=trace.labels, source=trace.source, synthetic=trace.synthetic)
    return replace(network, layers=tuple(layers), trace=trace)


def _first(count: int, density: float) -> Order:
    return np.arange(max(1, kept_count(density, count)))


def readers(network: Network, name: str) -> tuple[str, ...]:
    """Names of the layers that read the rows of layer ``name``, nothing but channel-wise operators in between.

    Raises
    ------
    RecipeError
        If they are not known, or something else reads the rows too.
    """
    _check_kind(layer_named(network, name), name)
    graph = dataflow(network)
    if graph is not None:
        _check_uses(graph, name, name)
    if graph is None:
        raise RecipeError(
            [f"layer {name!r}: nothing says which layer reads its outputs: give a graph, or a model marked sequential"]
        )
    return _follow(network, graph, name)


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


def layer_named(network: Network, name: str) -> Layer:
    """Return the layer called ``name``."""
    return next(layer for layer in network.layers if layer.name == name)


def with_rows(layer: Layer, order: Order) -> Layer:
    """Return the layer with rows ``order`` only, in that order."""
    place = np.full(layer.outputs, -1, np.int64)
    place[order] = np.arange(len(order))
    matrix = layer.matrix
    rows, keep = place[matrix.rows], place[matrix.rows] >= 0
    picked = SparseColumns.from_entries(
        shape=(len(order), layer.inputs), rows=rows[keep], columns=matrix.column_of[keep], data=matrix.data[keep]
    )
    return replace(
        layer,
        matrix=picked,
        bias=None if layer.bias is None else frozen(layer.bias[order], np.float32),
        bias_codes=None if layer.bias_codes is None else frozen(layer.bias_codes[order], np.uint8),
        geometry=layer.geometry.with_outputs(len(order)),
    )


def _with_columns(layer: Layer, columns: Order, channels: int, channels_before: int) -> Layer:
    place = np.full(layer.inputs, -1, np.int64)
    place[columns] = np.arange(len(columns))
    matrix = layer.matrix
    moved = place[matrix.column_of]
    keep = moved >= 0
    picked = SparseColumns.from_entries(
        shape=(layer.outputs, len(columns)), rows=matrix.rows[keep], columns=moved[keep], data=matrix.data[keep]
    )
    return replace(layer, matrix=picked, geometry=layer.geometry.with_inputs(channels, channels_before))


def _columns_of(layer: Layer, rows: int, order: Order, producer: str) -> Order:
    """Columns of ``layer`` that read rows ``order`` of a producer with ``rows`` rows."""
    width = layer.geometry.columns_per_channel(rows)
    if width * rows != layer.inputs:
        raise RecipeError(
            [f"layer {layer.name!r}: its {layer.inputs} inputs are no multiple of the {rows} outputs of {producer!r}"]
        )
    # Columns are ordered channel by channel: channel i of the producer is read by columns i * width and following.
    columns: Order = (order[:, None] * width + np.arange(width)).ravel()
    return columns


def _trace_columns(recorded: LayerTrace, columns: Order) -> LayerTrace:
    mask = recorded.mask[:, columns]
    values = recorded.dense()
    bits = frozen(np.packbits(mask, axis=1), np.uint8)
    kept = None if values is None else frozen(values[:, columns][mask], np.float32)
    return LayerTrace(width=len(columns), bits=bits, values=kept, products=recorded.products)


def _check_kind(layer: Layer, producer: str) -> None:
    kind = layer.geometry.tied
    if kind is None:
        return
    raise RecipeError(
        [f"layer {producer!r}: its outputs cannot be taken out or moved: channels of {layer.name!r}, {kind}, are tied"]
    )


def _check_uses(graph: Graph, name: str, producer: str) -> None:
    """Refuse layers that run several times: what leaves for one of their readers would leave for all."""
    uses = len(graph.uses_by_layer[name])
    if uses > 1:
        raise RecipeError(
            [f"layer {producer!r}: its outputs cannot be taken out or moved: {name!r} runs {uses} times on its weights"]
        )


def _follow(network: Network, graph: Graph, name: str) -> tuple[str, ...]:
    """Follow the layer's output through channel-wise operators to the layers that read it."""
    start = next(node for node in graph.nodes if node.layer == name)
    flat = layer_named(network, name).geometry.takes_vectors
    reading: list[str] = []
    waiting = [(start.outputs[0], flat)]
    while waiting:
        tensor, flat = waiting.pop()
        if tensor in graph.outputs:
            raise RecipeError([f"layer {name!r}: its outputs are the network's: its rows cannot be taken out or moved"])
        for node in graph.nodes:
            if tensor not in node.inputs:
                continue
            if node.layer is not None:
                reader = layer_named(network, node.layer)
                _check_kind(reader, name)
                _check_uses(graph, node.layer, name)
                if reader.geometry.takes_vectors != flat:
                    raise _not_followed(name, node)
                reading.append(node.layer)
            else:
                waiting.append((node.outputs[0], _flat_after(name, node, flat)))
    return tuple(reading)


def _flat_after(name: str, node: Node, flat: bool) -> bool:
    """Whether a channel is one number, or a flattened block, behind ``node``; a feature map otherwise."""
    operator = operators.find(node.op)
    after = None if operator is None else operator.channels(flat, node.attributes)
    if after is None:
        raise _not_followed(name, node)
    return after


def _keeps_numbers(node: Node) -> bool:
    """Whether behind ``node`` there is one number for each row of a fully connected layer, in the same order."""
    operator = operators.find(node.op)
    # What is told that a channel is one number and keeps it one works on every number alone.
    return operator is not None and (operator.keeps_places or operator.channels(True, node.attributes) is True)


def _not_followed(name: str, node: Node) -> RecipeError:
    return RecipeError(
        [f"layer {name!r}: its outputs cannot be taken out or moved: node {node.name!r} ({node.op}) reads them"]
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
