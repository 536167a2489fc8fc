"""What every rewriting of a file needs: new nodes, new constants, and other nodes in the place of those that are there.

Comes in: a parsed graph. Goes out: the same one, changed. Used by `normalise` and by all that take nodes apart.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Let a graph have these nodes, some of them its own."""
    # Copies: what belongs to a graph is gone once it is taken out of it.
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
