"""Where channels go: each output of each layer followed through the network to the layers that read it.

Comes in: a `Network`. Goes out: a `Flow`: which channels only go together, which stay and why; and the network with
some of them taken out or in another order. Read by `structure` and by channel pruning.

Every operator says itself what becomes of channels (`eie.model.operators.channels`). Channels that an operator joins
number by number, as a residual addition does, are one *class*: all of it goes, or nothing. A class stays where one of
its channels leaves the network, comes from its input, or meets what does not say that channels survive it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from eie.model.layer_trace import LayerTrace
from eie.model.network import Network
from eie.model.operators.channels import Channels, Labels, Operand
from eie.model.trace import Trace

OUTPUTS = "its outputs are the network's"
Tensors = dict[str, Channels | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Flow:
    """The channels of a network.

    Attributes
    ----------
    network, graph
        Whose they are.
    first
        By layer: the label of its first output; the others follow.
    tensors
        The channels of every tensor, None where nobody follows them.
    class_of
        int64 (labels,): the class of each label, named by its least label.
    reasons
        By class that stays: why.
    """

    network: Network
    graph: Graph
    first: Mapping[str, int]
    tensors: Mapping[str, Channels | None]
    class_of: Labels
    reasons: Mapping[int, str]

    @classmethod
    def of(cls, network: Network) -> Flow | None:
        """Follow every channel; None where nothing says which layer reads which."""
        graph = dataflow(network)
        return None if graph is None else _Walk(network, graph).flow()

    def classes(self, name: str) -> Labels:
        """Return the class of each output of a layer."""
        start = self.first[name]
        return self.class_of[start : start + layer_named(self.network, name).outputs]

    def stays(self, name: str) -> str | None:
        """Why no output of a layer can be taken out; None if some can."""
        reasons = [self.reasons.get(int(each)) for each in self.classes(name)]
        return None if None in reasons else reasons[0]

    def check(self, name: str) -> None:
        """See that some outputs of a layer can be taken out.

        Raises
        ------
        RecipeError
            If none can; says why.
        """
        reason = self.stays(name)
        if reason is not None:
            raise stays(name, reason)

    def check_movable(self, name: str) -> None:
        """See that the outputs of a layer can be put in any order: they are tied to no others and never parted.

        Raises
        ------
        RecipeError
            If they are, or something stays.
        """
        classes = self.classes(name)
        for each in classes.tolist():
            if each in self.reasons:
                raise stays(name, self.reasons[each])
        if np.isin(self.class_of, classes).sum() > len(classes):
            raise stays(name, "they are joined with others")
        if len({self.ways[each] for each in classes.tolist()}) > 1:
            raise stays(name, "they are parted on the way")

    @cached_property
    def ways(self) -> dict[int, frozenset[str]]:
        """By class that can go: the tensors that have a channel of it."""
        ways: dict[int, set[str]] = {}
        for tensor, channels in self.tensors.items():
            if channels is not None:
                for each in np.unique(self.class_of[channels.labels]):
                    ways.setdefault(int(each), set()).add(tensor)
        return {each: frozenset(names) for each, names in ways.items() if each not in self.reasons}

    @cached_property
    def coupled(self) -> tuple[tuple[str, ...], ...]:
        """Layers in groups that lose channels together; each layer that can lose some is in one group."""
        groups: list[set[str]] = []
        free = {layer.name: set(self.classes(layer.name).tolist()) - set(self.reasons) for layer in self.network.layers}
        for name, classes in free.items():
            if not classes:
                continue
            # With whoever shares a class, and with whom that one does.
            meets = [group for group in groups if any(classes & free[other] for other in group)]
            groups = [group for group in groups if group not in meets] + [{name}.union(*meets)]
        order = [layer.name for layer in self.network.layers]
        return tuple(
            sorted((tuple(sorted(group, key=order.index)) for group in groups), key=lambda g: order.index(g[0]))
        )

    def without(self, gone: Iterable[int]) -> Network:
        """Return the network without the channels of these classes."""
        classes = np.array(sorted(gone), np.int64)
        orders = {layer.name: ~np.isin(self.classes(layer.name), classes) for layer in self.network.layers}
        return self.reordered({name: np.flatnonzero(stay) for name, stay in orders.items() if not stay.all()})

    def reordered(self, orders: Mapping[str, Order]) -> Network:
        """Return the network with rows ``orders[name]`` of the layers named, in that order, what reads them following.

        The rows of a class are to go together; `without` sees to it.
        """
        return _Rebuilt(self, orders).network()


def stays(name: str, reason: str) -> RecipeError:
    """Return the error that says why outputs of a layer stay."""
    if reason == OUTPUTS:
        return RecipeError([f"layer {name!r}: {reason}: its rows cannot be taken out or moved"])
    return RecipeError([f"layer {name!r}: its outputs cannot be taken out or moved: {reason}"])


class _Walk:
    """Follows labels along a graph, in order; ties and reasons gather on the way."""

    def __init__(self, network: Network, graph: Graph) -> None:
        self._network, self._graph = network, graph
        self._layers = {layer.name: layer for layer in network.layers}
        self._first: dict[str, int] = {}
        self._ties: list[tuple[Labels, Labels]] = []
        self._reasons: dict[int, str] = {}
        self._labels = 0

    def flow(self) -> Flow:
        # Layers first, so that a layer's labels are where its place in the network says.
        for layer in self._network.layers:
            self._first[layer.name] = self._labels
            self._labels += layer.outputs
        tensors: Tensors = {name: self._entrance(shape) for name, shape in self._graph.inputs}
        for node in self._graph.nodes:
            tensors.update(dict.fromkeys(node.outputs))
            if node.layer is not None:
                tensors[node.outputs[0]] = self._through_layer(self._layers[node.layer], node, tensors)
            else:
                tensors[node.outputs[0]] = self._through_operator(node, tensors)
        for name in self._graph.outputs:
            self._stay(tensors.get(name), OUTPUTS)
        class_of = _classes(self._labels, self._ties)
        reasons: dict[int, str] = {}
        for label, reason in sorted(self._reasons.items()):
            reasons.setdefault(int(class_of[label]), reason)
        return Flow(
            network=self._network,
            graph=self._graph,
            first=self._first,
            tensors=tensors,
            class_of=class_of,
            reasons=reasons,
        )

    def _entrance(self, shape: tuple[int, ...]) -> Channels | None:
        """Label what comes from outside: it stays, and so does what is joined with it."""
        axis = -3 if len(shape) == 3 else -1
        if not shape or shape[axis] < 1:
            return None
        labels = np.arange(self._labels, self._labels + shape[axis])
        self._labels += len(labels)
        entered = Channels(labels=labels, axis=axis, rank=len(shape) + 1)
        self._stay(entered, "joined with the network's input")
        return entered

    def _stay(self, channels: Channels | None, reason: str) -> None:
        if channels is not None:
            for label in channels.labels.tolist():
                self._reasons.setdefault(label, reason)

    def _through_layer(self, layer: Layer, node: Node, tensors: Tensors) -> Channels | None:
        read = tensors.get(node.inputs[0])
        for name in node.inputs:
            if name in tensors:
                self._read(layer, node, tensors[name], first=name == node.inputs[0])
        labels = np.arange(self._first[layer.name], self._first[layer.name] + layer.outputs)
        geometry = layer.geometry
        vectors = geometry.takes_vectors
        rank = len(geometry.entrance) + 1
        if vectors:
            # Over the last axis of whatever comes in.
            rank = 0 if read is None else read.rank or 0
        made = Channels(labels=labels, axis=-1 if vectors else 1 - rank, rank=rank or None)
        reason = self._tied(layer)
        if reason:
            self._stay(made, reason)
            return None
        return made

    def _tied(self, layer: Layer) -> str:
        """Why a layer keeps all of its rows and columns; empty if it need not."""
        uses = len(self._graph.uses_by_layer[layer.name])
        if uses > 1:
            # What leaves for one reader of a use would leave for all of them.
            return f"{layer.name!r} runs {uses} times on its weights"
        return f"channels of {layer.name!r}, {layer.geometry.tied}, are tied" if layer.geometry.tied is not None else ""

    def _read(self, layer: Layer, node: Node, read: Channels | None, *, first: bool) -> None:
        """Note whether a layer can give up the columns of what it reads."""
        geometry = layer.geometry
        if read is None:
            return
        if reason := self._tied(layer):
            self._stay(read, reason)
            return
        maps = len(geometry.entrance) == 3
        lies = (read.axis, read.rank) == (-3, 4) if maps else read.flat
        width = geometry.columns_per_channel(len(read.labels))
        if (
            not first
            or not lies
            or width * len(read.labels) != layer.inputs
            or (maps and node.attributes.get("batch_axis", 0))
        ):
            self._stay(read, _not_followed(node))
            return

    def _through_operator(self, node: Node, tensors: Tensors) -> Channels | None:
        inputs = [tensors[name] if name in tensors else self._graph.constants[name] for name in node.inputs]
        operator = operators.find(node.op)
        operands = [part for part in inputs if part is not None]
        made = None
        if operator is not None and len(operands) == len(inputs) and any(isinstance(x, Channels) for x in operands):
            made = operator.channels(operands, node.attributes)
        if made is None:
            for part in inputs:
                self._stay(part if isinstance(part, Channels) else None, _not_followed(node))
            return None
        self._ties.extend(made.ties)
        return replace(made, ties=())


def _not_followed(node: Node) -> str:
    # A part that runs elsewhere lists what is in it.
    inside = [str(name) for name, *_ in node.attributes.get("operators", ())]
    return f"node {node.name!r} ({': '.join([node.op, *([', '.join(inside)] if inside else [])])}) reads them"


def _classes(count: int, ties: Iterable[tuple[Labels, Labels]]) -> Labels:
    """Return the class of each label: the least that ties lead to."""
    class_of = np.arange(count)
    left, right = (
        np.concatenate([np.zeros(0, np.int64), *side]) for side in (zip(*ties, strict=True) if ties else ((), ()))
    )
    while True:
        least = np.minimum(class_of[left], class_of[right])
        before = class_of.copy()
        np.minimum.at(class_of, left, least)
        np.minimum.at(class_of, right, least)
        # By twos along chains, so that long ones take few rounds.
        class_of = class_of[class_of]
        if np.array_equal(before, class_of):
            return class_of


class _Rebuilt:
    """A network with other rows of some layers: walks the graph again and moves what reads them."""

    def __init__(self, flow: Flow, orders: Mapping[str, Order]) -> None:
        self._flow, self._orders = flow, orders
        self._layers = {layer.name: layer for layer in flow.network.layers}
        trace = flow.network.trace
        self._recorded: dict[str, LayerTrace] = {} if trace is None else dict(trace.layers)
        self._now: Tensors = {name: flow.tensors[name] for name, _ in flow.graph.inputs}
        self._constants = dict(flow.graph.constants)
        self._moved: set[str] = set()

    def network(self) -> Network:
        nodes = tuple(self._node(node) for node in self._flow.graph.nodes)
        network = self._flow.network
        trace = network.trace
        if trace is not None:
            trace = Trace(layers=self._recorded, labels=trace.labels, source=trace.source, synthetic=trace.synthetic)
        layers = tuple(self._layers[layer.name] for layer in network.layers)
        graph = network.graph
        if graph is not None:
            used = {name for node in nodes for name in node.inputs}
            constants = {name: array for name, array in self._constants.items() if name in used}
            graph = replace(graph, nodes=nodes, constants=constants)
        return replace(network, layers=layers, trace=trace, graph=graph)

    def _node(self, node: Node) -> Node:
        self._now.update(dict.fromkeys(node.outputs))
        if node.layer is not None:
            self._layer(node, node.layer)
            return node
        before = [self._flow.tensors.get(name) for name in node.inputs]
        places = [self._places(name) for name in node.inputs]
        if self._flow.tensors[node.name] is None:
            return node
        operator = operators.find(node.op)
        assert operator is not None
        operands: list[Operand] = [
            self._flow.graph.constants[name] if part is None else part
            for part, name in zip(before, node.inputs, strict=True)
        ]
        if any(place is not None and not _whole(place, part) for place, part in zip(places, before, strict=True)):
            constants, attributes = operator.take(operands, places, node.attributes)
            node = replace(node, attributes=attributes, inputs=self._with(node, constants))
        after = [self._constants[name] if name in self._constants else self._now[name] for name in node.inputs]
        self._now[node.name] = operator.channels([part for part in after if part is not None], node.attributes)
        return node

    def _with(self, node: Node, constants: Mapping[int, NDArray[Any]]) -> tuple[str, ...]:
        """Return a node's inputs with constants of its own in the place of those that several may use."""
        inputs = list(node.inputs)
        for place, array in constants.items():
            inputs[place] = name = f"{node.name} [{place}, taken]"
            self._constants[name] = array
        return tuple(inputs)

    def _layer(self, node: Node, name: str) -> None:
        before, places = self._flow.tensors.get(node.inputs[0]), self._places(node.inputs[0])
        if name not in self._moved:
            self._moved.add(name)
            if before is not None and places is not None and not _whole(places, before):
                self._columns(name, before, places)
            if name in self._orders:
                self._layers[name] = with_rows(self._layers[name], self._orders[name])
        made = self._flow.tensors[node.outputs[0]]
        if made is not None and name in self._orders:
            made = replace(made, labels=made.labels[self._orders[name]])
        self._now[node.outputs[0]] = made

    def _columns(self, name: str, before: Channels, places: Labels) -> None:
        layer, channels = self._layers[name], len(before.labels)
        columns = columns_of(layer.geometry.columns_per_channel(channels), places)
        if name in self._recorded and self._recorded[name].width == layer.inputs:
            self._recorded[name] = trace_columns(self._recorded[name], columns)
        self._layers[name] = with_columns(layer, columns=columns, channels=len(places), channels_before=channels)

    def _places(self, name: str) -> Labels | None:
        """Where the channels that a tensor has now were before."""
        before, now = self._flow.tensors.get(name), self._now.get(name)
        if before is None or now is None:
            return None
        by_label = np.argsort(before.labels)
        return by_label[np.searchsorted(before.labels, now.labels, sorter=by_label)]


def _whole(places: Labels, before: Channels | None) -> bool:
    return before is not None and np.array_equal(places, np.arange(len(before.labels)))
