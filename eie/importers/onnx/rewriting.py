"""What every rewriting of a file needs: new nodes, new constants, and other nodes in the place of those that are there.

Comes in: a parsed graph. Goes out: the same one, changed. Used by `normalise` and by all that take nodes apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.importers.onnx import kinds

if TYPE_CHECKING:
    import onnx


def new_node(op: str, inputs: Iterable[str], out: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """Make a node of one result, called after it if it has no ``name``; attributes that are None are left out."""
    from onnx import helper

    return helper.make_node(op, list(inputs), [out], name=name or f"{out} ({op})", **attributes)


def add_constant(graph: onnx.GraphProto, name: str, value: Any) -> str:
    """Put an array, or what becomes one, into the file; returns its name."""
    graph.initializer.append(kinds.tensor_of(name, np.asarray(value)))
    return name


def constants_of(graph: onnx.GraphProto) -> set[str]:
    """Return the names of what hangs on no input."""
    known = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        # A Constant reads nothing.
        if all(name in known for name in node.input if name) and not any(
            entry.HasField("g") for entry in node.attribute
        ):
            known.update(node.output)
    return known


def opset_of(proto: onnx.ModelProto) -> int:
    """Return the operator set that a file is of: others than ONNX's own count for themselves."""
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def with_axes(
    graph: onnx.GraphProto, op: str, *, inside: str, out: str, axes: Sequence[int], opset: int, label: str
) -> onnx.NodeProto:
    """Make a Squeeze or an Unsqueeze: axes are an attribute until opset 13 and an input, called ``label``, since."""
    if opset < 13:
        return new_node(op, [inside], out, axes=list(axes))
    if not any(tensor.name == label for tensor in graph.initializer):
        add_constant(graph, label, np.array(axes, np.int64))
    return new_node(op, [inside, label], out)


def reshaped(graph: onnx.GraphProto, name: str, out: str, *, sizes: Sequence[int], opset: int) -> onnx.NodeProto:
    """Make a Reshape: sizes are an attribute until opset 5 and an input since."""
    if opset < 5:
        return new_node("Reshape", [name], out, shape=list(sizes))
    return new_node("Reshape", [name, add_constant(graph, f"{out}/sizes", np.array(sizes, np.int64))], out)


def divided(
    graph: onnx.GraphProto, name: str, parts: Sequence[str], *, sizes: Sequence[int], axis: int, opset: int
) -> onnx.NodeProto:
    """Make a Split into two parts and more: sizes are an attribute until opset 13 and an input since."""
    if opset < 13:
        made = new_node("Split", [name], parts[0], axis=axis, split=list(sizes))
    else:
        stated = add_constant(graph, f"{parts[0]}/sizes", np.array(sizes, np.int64))
        made = new_node("Split", [name, stated], parts[0], axis=axis)
    made.output.extend(parts[1:])
    return made


def clipped(
    graph: onnx.GraphProto, name: str, out: str, *, low: float | None, high: float | None, opset: int
) -> onnx.NodeProto:
    """Make a Clip: bounds are attributes until opset 11 and inputs since."""
    if opset < 11:
        return new_node("Clip", [name], out, min=low, max=high)
    bounds = [
        "" if bound is None else add_constant(graph, f"{out}/{label}", np.float32(bound))
        for label, bound in (("low", low), ("high", high))
    ]
    return new_node("Clip", [name, *bounds], out)


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Let a graph have these nodes, some of them its own."""
    # Copies: what belongs to a graph is gone once it is taken out of it.
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
