"""Einsums that are several products, taken apart into such as the reader knows: of two operands, or stacks of matrices.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. Activations are contracted
first and constants last, one after the other, so that each constant is the weights of one layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def take_contractions_apart(graph: onnx.GraphProto) -> None:
    """Replace Einsums of three operands and more, and those by blocks: ``bhi,hio->bho``."""
    if not any(node.op_type == "Einsum" and not node.domain for node in graph.node):
        return
    constant = _constants(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        waiting = [node]
        if node.op_type == "Einsum" and len(node.input) > 2:
            waiting = _pairs(node, constant)
        for part in waiting:
            nodes += _blocks(graph, part, constant) if part.op_type == "Einsum" and len(part.input) == 2 else [part]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _constants(graph: onnx.GraphProto) -> set[str]:
    known = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        # A Constant reads nothing.
        if all(name in known for name in node.input if name) and not any(
            entry.HasField("g") for entry in node.attribute
        ):
            known.update(node.output)
    return known


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
        nodes.append(_node("Einsum", [name, other], out, name=called, equation=f"{term},{letters}->{made}"))
        name, term = out, made
    return nodes


def _blocks(graph: onnx.GraphProto, node: onnx.NodeProto, constant: set[str]) -> list[onnx.NodeProto]:
    """Return a product of stacks of matrices, if each block of the activation has a matrix of its own."""
    read, inside = _terms(node), [name in constant for name in node.input]
    if read is None or inside.count(True) != 1:
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
    nodes = [_turned(node.input[place], theirs, stack, f"{out}/weights")]
    # (..., block, rows, inputs) x (block, inputs, outputs); without rows of its own a block has one.
    rows = kept[-1:] if len(kept) > 1 else []
    front = kept[: len(kept) - len(rows)]
    nodes.append(_turned(node.input[1 - place], ours, [*front, *shared, *rows, *summed], f"{out}/in"))
    x, y = f"{out}/in", f"{out}/out"
    if not rows:
        nodes.append(_node("Reshape", [x, _sizes(graph, out, [0, 0, 1, -1])], f"{out}/row"))
        x, y = f"{out}/row", f"{out}/row out"
    nodes.append(_node("MatMul", [x, f"{out}/weights"], y, name=node.name))
    if not rows:
        nodes.append(_node("Reshape", [y, _sizes(graph, f"{out}/back", [0, 0, -1])], f"{out}/out"))
    nodes.append(_turned(f"{out}/out", "".join([*front, *shared, *rows, *made]), list(result), out))
    return nodes


def _turned(name: str, letters: str, wanted: Sequence[str], out: str) -> onnx.NodeProto:
    order = [letters.index(c) for c in wanted]
    if order == list(range(len(order))):
        return _node("Identity", [name], out)
    return _node("Transpose", [name], out, perm=order)


def _sizes(graph: onnx.GraphProto, out: str, sizes: list[int]) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), f"{out}/sizes"))
    return f"{out}/sizes"


def _node(op: str, inputs: list[str], out: str, name: str = "", **attributes: object) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(op, inputs, [out], name=name or f"{out} ({op})", **attributes)
