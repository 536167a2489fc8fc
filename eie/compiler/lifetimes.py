"""Which maps there are between the layers of a network, and from when to when each is needed.

Comes in: a graph, its layers' geometries, the shapes of its inputs. Goes out: a frozen `Lifetimes`. Read by
`eie.compiler.maps`, which places the maps.

Time here is the order of layers: step i is the i-th layer of the graph together with the operators behind it, which
take no time and work on numbers as they come out of the layer. So a map that only those operators read is never stored;
one that they only move (flatten), change in place (ReLU) or join (concatenate) keeps its place under another name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from eie.compiler.shapes import Shape, Shapes, batch_first, tensor_shapes
from eie.errors import ModelError
from eie.model import host, operators
from eie.model.dataflow import Chained, dataflow
from eie.model.geometry import Geometry
from eie.model.graph import Graph, Node

# The step before the first layer: what the host brings is there when it begins.
HOST = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class Lifetime:
    """One map.

    Attributes
    ----------
    elements
        Of one sample.
    born
        Step that writes it; `HOST` for an input of the network.
    last
        Last step that needs it; as many as there are layers for an output of the network.
    sources
        Steps whose layer reads it as its input, product by product.
    operands
        Steps whose operators read it whole, once: the second summand of a skip connection.
    """

    name: str
    elements: int
    born: int
    last: int
    sources: tuple[int, ...] = ()
    operands: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Lifetimes:
    """All maps of a network that are ever stored.

    Attributes
    ----------
    layers
        The layer of each step, by the step's name: that of its use, in order.
    rows
        Products that a step's input makes, a sample: rows of inputs.
    sizes
        Open sizes of a step's input, as height and width of a map.
    host_in, host_out
        Elements of the network's inputs and outputs.
    """

    maps: tuple[Lifetime, ...]
    layers: Mapping[str, str]
    rows: Mapping[str, int]
    host_in: int
    host_out: int
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def lifetimes(graph: Graph, geometries: Mapping[str, Geometry], inputs: Shapes) -> Lifetimes:
    """Follow every tensor of a network from where it is made to where it is read last.

    Raises
    ------
    ModelError
        If sizes are not known.
    """
    walk = _Walk(graph, tensor_shapes(graph, geometries, inputs))
    rows: dict[str, int] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    for node in graph.nodes:
        if node.layer is None:
            walk.operate(node)
            continue
        geometry = geometries[node.layer]
        shape = batch_first(walk.shapes[node.inputs[0]], node.attributes.get("batch_axis", 0))
        use = graph.use_of[node.name]
        sizes[use] = geometry.sizes(shape)
        rows[use] = geometry.products(*sizes[use])
        walk.run(node)
    return replace(walk.finished(rows), sizes=sizes)


def layer_sizes(network: Chained, inputs: Shapes) -> Mapping[str, tuple[int, ...]]:
    """Return the open sizes of each layer's input, by name; nothing where the graph does not say them."""
    graph = dataflow(network)
    if graph is None:
        return {}
    try:
        return lifetimes(graph, {layer.name: layer.geometry for layer in network.layers}, inputs).sizes
    except ModelError:
        return {}


class _Open:
    """A map that the walk has not seen the end of."""

    def __init__(self, name: str, elements: int, born: int) -> None:
        self.name, self.elements, self.born, self.last = name, elements, born, born
        self.sources: list[int] = []
        self.operands: list[int] = []

    def closed(self) -> Lifetime:
        return Lifetime(
            name=self.name,
            elements=self.elements,
            born=self.born,
            last=self.last,
            sources=tuple(self.sources),
            operands=tuple(self.operands),
        )


class _Walk:
    """The state of a walk along a graph: which maps each tensor is made of, and who has read them so far."""

    def __init__(self, graph: Graph, shapes: dict[str, Shape]) -> None:
        self.graph, self.shapes = graph, shapes
        self.step = HOST
        self._uses = Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs)
        self._maps: list[_Open] = []
        # Several where maps were joined: a concatenation is its parts, side by side.
        self._of: dict[str, list[_Open]] = {}
        for name, _ in graph.inputs:
            # Ids and switches go to the host alone.
            if name not in graph.types:
                self._make(name)

    def run(self, node: Node) -> None:
        """Go one step on: a layer reads its input and makes its output."""
        self.step += 1
        for place, name in enumerate(node.inputs):
            for read in self._read(name):
                # Behind the first input stands the state of a recurrent layer, which is read once.
                (read.operands if place else read.sources).append(self.step)
        for name in node.outputs:
            self._make(name)

    def operate(self, node: Node) -> None:
        """Work through an operator within the step."""
        tensors = [name for name in node.inputs if name not in self.graph.constants]
        reads = [read for name in tensors for read in self._read(name)]
        out = node.outputs[0]
        if node.op == host.OP:
            self._on_host(node, reads)
            return
        operator = operators.find(node.op)
        if reads and ((operator is not None and operator.joins) or self._in_place(tensors, out)):
            self._of[out] = list(dict.fromkeys(reads))
            return
        for read in reads:
            # What this step has just made flows through; older maps have to be fetched.
            if read.born != self.step:
                read.operands.append(self.step)
        for name in node.outputs:
            self._make(name)

    def _on_host(self, node: Node, reads: list[_Open]) -> None:
        """The host takes maps that the accelerator made, and brings those that its layers read."""
        for read in reads:
            if read.born not in (self.step, HOST):
                read.operands.append(self.step)
        for name, plain in zip(node.outputs, node.attributes["plain"], strict=True):
            # What stays on the host is no map of the machine's.
            if plain:
                self._of[name] = []
            else:
                self._make(name)

    def finished(self, rows: Mapping[str, int]) -> Lifetimes:
        end = len(rows)
        for name in self.graph.outputs:
            for made in self._of.get(name, ()):
                made.last = end
        return Lifetimes(
            # Without those that only operators of their own step, or nobody, read.
            maps=tuple(made.closed() for made in self._maps if made.sources or made.operands or made.last == end),
            layers={use: str(node.layer) for use, node in self.graph.uses.items()},
            rows=rows,
            host_in=sum(self._elements(name) for name, _ in self.graph.inputs),
            host_out=sum(self._elements(name) for name in self.graph.outputs),
        )

    def _read(self, name: str) -> list[_Open]:
        self._uses[name] -= 1
        maps = self._of.get(name, [])
        for read in maps:
            read.last = max(read.last, self.step)
        return maps

    def _make(self, name: str) -> None:
        made = _Open(name, self._elements(name), self.step)
        self._maps.append(made)
        self._of[name] = [made]

    def _in_place(self, tensors: list[str], out: str) -> bool:
        """Whether the result takes the place of the one input: as large as it, and nobody reads that any more."""
        (first, *others) = tensors
        return not others and self._elements(first) == self._elements(out) and not self._uses[first]

    def _elements(self, name: str) -> int:
        return math.prod(self.shapes[name])
