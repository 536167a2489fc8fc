"""Products in forms that no layer has, taken apart into such as the reader knows.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. An Einsum of several
operands becomes products of two, activations first and constants last, so that each constant is the weights of one
layer; one by blocks a stack of matrices; a MatMul with a vector one with a matrix; a Gemm that adds an activation a
Gemm and a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from eie.importers.onnx.rewriting import add_constant, constants_of, new_node, replace_nodes, reshaped, with_axes

if TYPE_CHECKING:
    import onnx


def take_products_apart(graph: onnx.GraphProto, opset: int) -> None:
    """Rewrite Einsum, MatMul and Gemm where that is needed."""
    if not any(node.op_type in ("Einsum", "Gemm", "MatMul") and not node.domain for node in graph.node):
        return
    constant = constants_of(graph)
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    # Dequantised, it has the rank that it had.
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.output and node.input and node.input[0] in ranks:
            ranks[node.output[0]] = ranks[node.input[0]]
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if not node.output:
            # Damaged: said where it is read.
            nodes.append(node)
        elif node.op_type == "Einsum":
            parts = _pairs(node, constant) if len(node.input) > 2 else [node]
            nodes += [made for part in parts for made in _blocks(graph, part, constant)]
        elif node.op_type == "MatMul":
            nodes += _with_matrix(graph, node, ranks=ranks, opset=opset)
        elif node.op_type == "Gemm":
            nodes += _with_sum(graph, node, constant, opset=opset)
        else:
            nodes.append(node)
    if len(nodes) == len(graph.node):
        return
    replace_nodes(graph, nodes)


def _with_matrix(
    graph: onnx.GraphProto, node: onnx.NodeProto, *, ranks: Mapping[str, int], opset: int
) -> list[onnx.NodeProto]:
    """Give a vector of weights the axis of one that it lacks, and take it off the result."""
    vectors = [place for place, name in enumerate(node.input) if ranks.get(name) == 1]
    if len(vectors) != 1 or len(node.input) != 2:
        return [node]
    place, out = vectors[0], node.output[0]
    inputs, axis = list(node.input), -1 if vectors == [1] else -2
    inputs[place] = f"{out}/matrix"
    product = f"{out}/product"
    return [
        reshaped(graph, node.input[place], inputs[place], sizes=[-1, 1] if place else [1, -1], opset=opset),
        new_node("MatMul", inputs, product, name=node.name),
        with_axes(graph, "Squeeze", inside=product, out=out, axes=[axis], opset=opset, label=f"{out}/axis"),
    ]


def _with_sum(graph: onnx.GraphProto, node: onnx.NodeProto, constant: set[str], *, opset: int) -> list[onnx.NodeProto]:
    """Add what is computed behind the product; a constant becomes the layer's bias."""
    if len(node.input) < 3 or node.input[2] in constant or not node.input[2]:
        return [node]
    # Of two activations nothing becomes a layer.
    if not (node.input[0] in constant) ^ (node.input[1] in constant):
        return [node]
    out, name, nodes = node.output[0], node.input[2], []
    product = type(node)()
    product.CopyFrom(node)
    product.input.pop()
    if opset < 11:
        # Until then a Gemm adds something.
        product.input.append(add_constant(graph, f"{out}/nothing", np.zeros(1, np.float32)))
    product.output[0] = f"{out}/product"
    factor = next((entry.f for entry in node.attribute if entry.name == "beta"), 1.0)
    if factor != 1:
        nodes.append(new_node("Mul", [name, add_constant(graph, f"{out}/beta", np.float32(factor))], f"{out}/beside"))
        name = f"{out}/beside"
    return [product, *nodes, new_node("Add", [f"{out}/product", name], out)]


def _terms(node: onnx.NodeProto) -> tuple[list[str], str] | None:
    """Return the letters of operands and result; None where they say more than letters once each."""
    text = next((entry.s.decode(errors="replace") for entry in node.attribute if entry.name == "equation"), "")
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    plain = arrow and len(terms) == len(node.input) and all(t.isalpha() or not t for t in (*terms, right))
    once = all(len(set(term)) == len(term) for term in (*terms, right))
    return (terms, right) if plain and once else None


def _pairs(node: onnx.NodeProto, constant: set[str]) -> list[onnx.NodeProto]:
    read = _terms(node)
    inside = [name in constant for name in node.input]
    if read is None or all(inside) or not any(inside):
        return [node]
    terms, result = read
    # Activations in their order, then constants: False sorts first, and sorting keeps the order of equals.
    order = sorted(range(len(terms)), key=lambda i: inside[i])
    operands = [(node.input[i], terms[i]) for i in order]
    nodes, (name, term) = [], operands[0]
    for k, (other, letters) in enumerate(operands[1:], 1):
        last = k == len(operands) - 1
        later = set(result).union(*(text for _, text in operands[k + 1 :]))
        made = result if last else "".join(c for c in dict.fromkeys(term + letters) if c in later)
        out = node.output[0] if last else f"{node.output[0]}/product {k}"
        label = node.name or node.output[0]
        called = label if last else f"{label} {k}"
        nodes.append(new_node("Einsum", [name, other], out, name=called, equation=f"{term},{letters}->{made}"))
        name, term = out, made
    return nodes


def _blocks(graph: onnx.GraphProto, node: onnx.NodeProto, constant: set[str]) -> list[onnx.NodeProto]:
    """Return a product of stacks of matrices, if each block of the activation has a matrix of its own."""
    read, inside = _terms(node), [name in constant for name in node.input]
    if read is None or len(inside) != 2 or inside.count(True) != 1:
        return [node]
    (terms, result), place = read, inside.index(True)
    theirs, ours = terms[place], terms[1 - place]
    shared = [c for c in ours if c in theirs and c in result]
    summed = [c for c in ours if c in theirs and c not in result]
    made = [c for c in theirs if c not in ours and c in result]
    kept = [c for c in ours if c not in theirs and c in result]
    # One letter each: what has more would have to be made one axis, whose size is not known yet.
    if [len(shared), len(summed), len(made)] != [1, 1, 1] or len(theirs) != 3 or len(kept) + 2 != len(ours) or not kept:
        return [node]
    out, stack = node.output[0], shared + summed + made
    nodes = [_turned(node.input[place], theirs, stack, out=f"{out}/weights")]
    # (..., block, rows, inputs) x (block, inputs, outputs); without rows of its own a block has one.
    rows = kept[-1:] if len(kept) > 1 else []
    front = kept[: len(kept) - len(rows)]
    nodes.append(_turned(node.input[1 - place], ours, [*front, *shared, *rows, *summed], out=f"{out}/in"))
    x, y = f"{out}/in", f"{out}/out"
    if not rows:
        nodes.append(new_node("Reshape", [x, _sizes(graph, out, [0, 0, 1, -1])], f"{out}/row"))
        x, y = f"{out}/row", f"{out}/row out"
    nodes.append(new_node("MatMul", [x, f"{out}/weights"], y, name=node.name))
    if not rows:
        nodes.append(new_node("Reshape", [y, _sizes(graph, f"{out}/back", [0, 0, -1])], f"{out}/out"))
    nodes.append(_turned(f"{out}/out", "".join([*front, *shared, *rows, *made]), list(result), out=out))
    return nodes


def _turned(name: str, letters: str, wanted: Sequence[str], *, out: str) -> onnx.NodeProto:
    order = [letters.index(c) for c in wanted]
    if order == list(range(len(order))):
        return new_node("Identity", [name], out)
    return new_node("Transpose", [name], out, perm=order)


def _sizes(graph: onnx.GraphProto, out: str, sizes: list[int]) -> str:
    return add_constant(graph, f"{out}/sizes", np.array(sizes, np.int64))
