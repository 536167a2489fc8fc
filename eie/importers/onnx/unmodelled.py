"""What a file multiplies and no layer does: a row for each such node, with its share of the weights and products.

Comes in: nodes, constants and the shapes known so far. Goes out: texts for `Network.unmodelled`. Read by `reader`.
Weights are counted by the shapes that the file states, so nothing is decoded for it; shapes behind a node that was not
read are onnx's own inference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eie.importers.onnx.builder import Builder
from eie.importers.onnx.normalise import read_names
from eie.importers.onnx.work import Shape, Shapes, factors, held, kind, multiplications, multiplies
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

# Constants up to this size may be the target of a Reshape: shape inference needs their values, not those of weights.
_SMALL = 1 << 10


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a node holds and does for one sample; ``products`` is None where a shape is not known."""

    weights: int
    products: int | None


def unmodelled_rows(
    proto: onnx.ModelProto, nodes: Sequence[OnnxNode], into: Builder, skipped: Iterable[int]
) -> tuple[str, ...]:
    """Return a text for each skipped node that holds weights or multiplies, in the file's order."""
    wanted = sorted(skipped)
    weights = {i: _weights(proto.graph.node[i], nodes[i], into) for i in wanted}
    wanted = [i for i in wanted if weights[i] or multiplies(nodes[i].op)]
    if not wanted:
        return ()
    shapes = _shapes(proto, into)
    # By node and not by layer: an LSTM's two directions are one node.
    done = {tap.node: _weights(proto.graph.node[tap.node], nodes[tap.node], into) for tap in into.taps}
    all_of = done | {i: weights[i] for i in wanted}
    # What a damaged node without inputs or outputs does is not known.
    work = {
        i: _Work(
            weights=many,
            products=multiplications(nodes[i], shapes, many) if nodes[i].inputs and nodes[i].outputs else None,
        )
        for i, many in all_of.items()
    }
    return tuple(f"{nodes[i].op} ({nodes[i].name}): {_shares(work[i], work.values())}" for i in wanted)


def feeding(proto: onnx.ModelProto, nodes: Sequence[OnnxNode], into: Builder) -> set[int]:
    """Return the nodes that hold weights or multiply, and all whose results they depend on."""
    makers = {name: i for i, node in enumerate(proto.graph.node) for name in node.output if name}
    needed = {tap.node for tap in into.taps}
    for node in nodes:
        unread = bool(node.outputs) and all(into.known(name) is None for name in node.outputs)
        # Constants are no work, however large; what was read as an operator neither.
        works = unread and node.outputs[0] not in into.constants and bool(node.inputs)
        if works and (multiplies(node.op) or _weights(proto.graph.node[node.index], node, into)):
            needed.add(node.index)
    waiting = list(needed)
    while waiting:
        before = {makers[name] for name in read_names(proto.graph.node[waiting.pop()]) if name in makers}
        waiting += before - needed
        needed |= before
    return needed


def last_known(proto: onnx.ModelProto, into: Builder, behind: Set[int]) -> tuple[list[str], list[str]]:
    """Return the graph's outputs by our names, in the place of one behind the last layer what is known before it.

    The second value names outputs that are not known for another reason than nodes that were left out ``behind``.
    """
    makers = {name: i for i, node in enumerate(proto.graph.node) for name in node.output if name}
    names: dict[str, None] = {}
    missing = []
    for output in proto.graph.output:
        waiting, seen, reached = [output.name], {output.name}, False
        while waiting:
            name = waiting.pop()
            value, maker = into.known(name), makers.get(name)
            if value is not None:
                names[value.name] = None
            elif maker is not None and name not in into.constants:
                reached = reached or maker in behind
                node = proto.graph.node[maker]
                # The first input is what the others are beside: it comes first. Bodies read names of the graph's own.
                names_read = dict.fromkeys((*node.input, *sorted(read_names(node))))
                fresh = [before for before in names_read if before and before not in seen]
                seen.update(fresh)
                waiting += reversed(fresh)
        if into.known(output.name) is None and not reached:
            missing.append(output.name)
    return list(names), missing if names else [output.name for output in proto.graph.output] or ["none"]


def _shares(part: _Work, whole: Iterable[_Work]) -> str:
    everything = list(whole)
    weights = sum(work.weights for work in everything)
    said = f"{100 * part.weights / weights:.0f} % of the weights" if part.weights else "no weights"
    products = [work.products for work in everything if work.products is not None]
    # A share of what is partly unknown would be a guess.
    if part.products is None or len(products) < len(everything) or not sum(products):
        return f"{said}, multiplications not known"
    return f"{said}, {100 * part.products / sum(products):.0f} % of the multiplications"


def _weights(proto: onnx.NodeProto, node: OnnxNode, into: Builder) -> int:
    """Count the constants of two axes and more that a node reads or multiplies by, its subgraphs' included."""
    if "MatMul" in kind(node.op) and (packed := held(node)):
        # Several a byte: their scales, which are arrays as well, are none.
        return packed
    names = factors(node.op, node.inputs) if multiplies(node.op) else node.inputs
    shapes = {name: shape for name in names if name and (shape := into.constants.shape(name)) is not None}
    inner = [_subgraph_weights(graph, into) for graph in _graphs(proto)]
    return sum(_count(shape) for shape in shapes.values()) + sum(inner) + held(node)


def _graphs(proto: onnx.NodeProto) -> Iterable[onnx.GraphProto]:
    for attribute in proto.attribute:
        yield from (graph for graph in (attribute.g, *attribute.graphs) if graph.node)


def _subgraph_weights(graph: onnx.GraphProto, into: Builder) -> int:
    own = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    names, count = set(), 0
    for node in graph.node:
        names.update(node.input)
        count += sum(_subgraph_weights(inner, into) for inner in _graphs(node))
        for attribute in node.attribute:
            # Of a Constant node.
            count += _count(tuple(attribute.t.dims))
    # A body reads names of the graph around it as if they were its own.
    shapes = [own[name] if name in own else into.constants.shape(name) for name in sorted(names) if name]
    return count + sum(_count(shape) for shape in shapes if shape is not None)


def _count(shape: Shape) -> int:
    # A vector is a bias, a scale, a target of a Reshape.
    return math.prod(shape) if len(shape) >= 2 else 0


def _shapes(proto: onnx.ModelProto, into: Builder) -> dict[str, Shape]:
    """Return the shapes of tensors for one sample: those that were followed, and onnx's inference behind them."""
    shapes = inferred(proto, into)
    # What was followed is surer: sizes that the file leaves open are stated there.
    shapes |= {name: value.shape for name, value in into.values.items()}
    names = {name for node in proto.graph.node for name in node.input}
    return shapes | {name: shape for name in names if name and (shape := into.constants.shape(name)) is not None}


def inferred(proto: onnx.ModelProto, into: Builder, inputs: Shapes | None = None) -> dict[str, Shape]:
    """Return the shapes that onnx infers for one sample from those of the inputs, as far as it knows rules for them."""
    import onnx

    bare = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    bare.graph.CopyFrom(_without_weights(proto.graph, into, inputs or {}))
    try:
        graph = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    # Damage, or an operator that onnx does not know in this form: then nothing is known of what lies behind.
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}
    sizes = {}
    for entry in (*graph.value_info, *graph.output):
        dims: list[Any] = list(entry.type.tensor_type.shape.dim)
        if dims and all(dim.dim_value > 0 for dim in dims):
            sizes[entry.name] = tuple(int(dim.dim_value) for dim in dims)
    return sizes


def batch_axes(proto: onnx.ModelProto, into: Builder, inputs: Mapping[str, tuple[Shape, int]]) -> dict[str, int]:
    """Return the axis of a tensor that is two where the inputs' batch is, and one where that is one."""
    single, pair = (
        inferred(
            proto,
            into,
            {
                name: tuple(count if axis == batch else size for axis, size in enumerate(sizes))
                for name, (sizes, batch) in inputs.items()
            },
        )
        for count in (1, 2)
    )
    axes = {}
    for name in single.keys() & pair.keys():
        differ = [i for i, sizes in enumerate(zip(single[name], pair[name], strict=False)) if sizes[0] != sizes[1]]
        if len(single[name]) == len(pair[name]) and len(differ) == 1 and single[name][differ[0]] == 1:
            axes[name] = differ[0]
    return axes


def _without_weights(graph: onnx.GraphProto, into: Builder, sizes: Shapes) -> onnx.GraphProto:
    """Return the graph with inputs of known sizes, large initialisers' shapes in the place of their bytes."""
    from onnx import helper

    inputs = []
    for entry in graph.input:
        value = into.known(entry.name)
        kept, shape = entry.type.tensor_type.elem_type, sizes.get(entry.name, None if value is None else value.shape)
        inputs.append(entry if shape is None else helper.make_tensor_value_info(entry.name, kept, shape))
    stated = {entry.name for entry in graph.input}
    small = [tensor for tensor in graph.initializer if math.prod(tensor.dims) <= _SMALL]
    # Copied in no form but this: a model of gigabytes would be there twice.
    large = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in graph.initializer
        if math.prod(tensor.dims) > _SMALL and tensor.name not in stated
    ]
    return helper.make_graph(
        list(graph.node), "shapes", inputs=[*inputs, *large], outputs=list(graph.output), initializer=small
    )
