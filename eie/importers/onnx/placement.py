"""Which nodes of a graph run on a host, told before anything is read: what nothing here models, and what lies between.

Comes in: plain nodes and the constants. Goes out: a frozen `Placement`. Read by `reader`.

A node that no operator of ours reads goes to the host, and so does what reads a result of such a node, up to the next
weight layer: cutting there would only round once more. What feeds the host alone goes there as well, unless it is one
of the operators that run on the machine's own numbers without loss, or nearly (`_STAYING`). What a node says of
shapes is a constant where the shape is known.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eie.importers.onnx.constants import FOLDED
from eie.importers.onnx.normalise import read_names
from eie.importers.onnx.reference import REFERENCED
from eie.importers.onnx.work import factors, held, multiplies
from eie.model import operators
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

    from eie.importers.onnx.constants import Constants

# Where the weights of a layer are, by its operator; one of these must be constant.
_WEIGHTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "GRU": (1,),
    "Gemm": (0, 1),
    "LSTM": (1,),
    "MatMul": (0, 1),
    "RNN": (1,),
    "com.microsoft.MatMulNBits": (1,),
}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What is known of the nodes, by index.

    Attributes
    ----------
    layers
        Nodes whose weights are constant and which are read as layers.
    host
        Nodes that are not even tried.
    needed
        Nodes that a layer or another product hangs on.
    weighty
        Nodes that multiply by constants, whether they are read as layers or not.
    """

    layers: frozenset[int]
    host: frozenset[int]
    needed: frozenset[int]
    weighty: frozenset[int]


def place(
    proto: onnx.ModelProto,
    nodes: Sequence[OnnxNode],
    constants: Constants,
    *,
    plain: Container[str],
    shapes: Mapping[str, tuple[int, ...]],
) -> Placement:
    """Sort nodes; ``plain`` names inputs of ids and switches, ``shapes`` are those known for one sample."""
    reads = [sorted(name for name in read_names(node) if name) for node in proto.graph.node]
    layers = frozenset(node.index for node in nodes if _is_layer(node, constants))
    sorting = _Sorting(nodes=nodes, reads=reads, constants=constants, layers=layers, plain=plain, shapes=shapes)
    seeds = {node.index for node in nodes if node.index in layers or _holds_weights(proto, node, constants)}
    # Products of two activations are counted wherever they stand.
    products = {node.index for node in nodes if multiplies(node.op)}
    needed = ancestors(proto, reads, seeds | products)
    return Placement(layers=layers, host=sorting.host(), needed=needed, weighty=frozenset(seeds))


def _is_layer(node: OnnxNode, constants: Constants) -> bool:
    if node.op == "Einsum":
        return any(name in constants for name in node.inputs) and not all(name in constants for name in node.inputs)
    places = _WEIGHTS.get(node.op, ())
    inside = [place < len(node.inputs) and node.inputs[place] in constants for place in places]
    # Of constants alone it is one itself.
    return any(inside) and not all(name in constants for name in node.inputs[:2])


def _holds_weights(proto: onnx.ModelProto, node: OnnxNode, constants: Constants) -> bool:
    """Whether a node multiplies by constants in a form that no layer has, its bodies included."""
    if multiplies(node.op):
        return bool(held(node)) or any(len(constants.shape(name) or ()) > 1 for name in factors(node.op, node.inputs))
    bodies = [graph for entry in proto.graph.node[node.index].attribute for graph in (entry.g, *entry.graphs)]
    return any(products_inside(graph) for graph in bodies if graph.node)


def products_inside(graph: onnx.GraphProto) -> bool:
    """Whether a body holds an operator that multiplies, in itself or in its own bodies."""
    inner = [body for node in graph.node for entry in node.attribute for body in (entry.g, *entry.graphs) if body.node]
    return any(multiplies(node.op_type) for node in graph.node) or any(map(products_inside, inner))


def ancestors(proto: onnx.ModelProto, reads: Sequence[Sequence[str]], seeds: set[int]) -> frozenset[int]:
    makers = {name: i for i, node in enumerate(proto.graph.node) for name in node.output if name}
    needed, waiting = set(seeds), list(seeds)
    while waiting:
        before = {makers[name] for name in reads[waiting.pop()] if name in makers} - needed
        waiting += before
        needed |= before
    return frozenset(needed)


@dataclass(frozen=True, kw_only=True)
class _Sorting:
    nodes: Sequence[OnnxNode]
    reads: Sequence[Sequence[str]]
    constants: Constants
    layers: frozenset[int]
    plain: Container[str]
    shapes: Mapping[str, tuple[int, ...]]

    def host(self) -> frozenset[int]:
        """Return the nodes that go to the host: forwards from what nobody models, backwards to what only feeds it."""
        forced: set[int] = set()
        while True:
            host, fixed = self._forwards(forced)
            more = self._backwards(host, fixed) - forced
            if not more:
                return frozenset(host)
            forced |= more

    def _forwards(self, forced: set[int]) -> tuple[set[int], set[str]]:
        host: set[int] = set()
        made: set[str] = set()
        fixed: set[str] = set()
        for node in self.nodes:
            names = self.reads[node.index]
            if self._is_constant(node, fixed, made):
                fixed.update(node.outputs)
            elif node.index in self.layers:
                continue
            elif (
                node.index in forced
                or operators.onnx_handler(node.op) is None
                or any(name in made or name in self.plain for name in names)
            ):
                host.add(node.index)
                made.update(name for name in node.outputs if name)
        return host, fixed

    def _is_constant(self, node: OnnxNode, fixed: set[str], made: set[str]) -> bool:
        if node.outputs and all(name in self.constants for name in node.outputs if name):
            return True
        if node.op == "Shape" and node.inputs[:1]:
            # Of what we read ourselves, the shape is known when its turn comes.
            name = node.inputs[0]
            return name in self.shapes or not (name in made or name in self.plain)
        known = any(node.inputs[:1]) and all(name in fixed or name in self.constants for name in node.inputs if name)
        return known and (node.op in FOLDED or node.op in REFERENCED)

    def _backwards(self, host: set[int], fixed: set[str]) -> set[int]:
        readers: dict[str, list[int]] = {}
        for i, names in enumerate(self.reads):
            for name in names:
                readers.setdefault(name, []).append(i)
        more: set[int] = set()
        for node in reversed(self.nodes):
            if node.index in host or node.index in self.layers or operators.stays(node.op) or not node.outputs:
                continue
            if all(name in fixed or name in self.constants for name in node.outputs):
                continue
            users = [i for name in node.outputs for i in readers.get(name, ())]
            if users and all(i in host or i in more for i in users):
                more.add(node.index)
        return more
