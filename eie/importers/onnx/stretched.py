"""A transposed convolution over a volume: zeros between the voxels, and a plain convolution over what that makes.

Comes in: a ConvTranspose node with constant weights. Goes out: plain nodes. Called by `expansions`. Zeros cost the
accelerator nothing: in two dimensions a layer's geometry stretches its map in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.importers.onnx.builder import Builder
from eie.importers.onnx.convolutions import transposed_form
from eie.importers.onnx.rewriting import add_constant, new_node
from eie.model.operators.from_onnx import OnnxNode

if TYPE_CHECKING:
    import onnx

_VOLUME = 5


def can_be_stretched(node: OnnxNode, into: Builder) -> bool:
    """Whether a node is a transposed convolution over a volume of known size, with constant weights."""
    if node.op != "ConvTranspose" or len(node.inputs) < 2 or len(into.constants.shape(node.inputs[1]) or ()) != _VOLUME:
        return False
    x = into.known(node.inputs[0])
    return x is not None and len(x.shape) == _VOLUME and x.batch == 0


def stretched(graph: onnx.GraphProto, node: OnnxNode, into: Builder) -> list[onnx.NodeProto]:
    """Return the nodes that compute the same; their constants go into ``graph``."""
    form, x = transposed_form(node, into), into.known(node.inputs[0])
    assert x is not None
    out, sizes, rank = node.outputs[0], x.shape[2:], _VOLUME - 2
    parts = _Parts(graph=graph, out=out, opset=int(node.attributes["opset"]))
    # Each voxel gets a cell of its own, as large as the stride, which it begins.
    cells = [0, x.shape[1], *(n for size in sizes for n in (size, 1))]
    behind = [0, 0, *(n for step in form.stride for n in (0, step - 1))]
    full = [0, x.shape[1], *(size * step for size, step in zip(sizes, form.stride, strict=True))]
    name = parts.reshaped(node.inputs[0], cells, "cells")
    name = parts.reshaped(parts.padded(name, [0] * len(behind), behind, label="zeros"), full, "stretched")
    reach = [gap * (size - 1) for gap, size in zip(form.dilation, form.size, strict=True)]
    before = [far - pad for far, pad in zip(reach, form.pads[:rank], strict=True)]
    # The last cell's zeros are no part of the map; fewer than none cuts off.
    after = [
        far - pad + more - (step - 1)
        for far, pad, more, step in zip(reach, form.pads[rank:], form.more, form.stride, strict=True)
    ]
    name = parts.padded(name, [0, 0, *before], [0, 0, *after], label="framed")
    inputs = [name, parts.constant("kernel", form.kernel), *node.inputs[2:3]]
    parts.add("Conv", inputs, out, called=node.name, group=form.groups, dilations=list(form.dilation))
    return parts.nodes


class _Parts:
    """Nodes with names that nobody else has."""

    def __init__(self, graph: onnx.GraphProto, out: str, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._out, self._opset = graph, out, opset

    def add(self, op: str, inputs: Sequence[str], out: str, called: str = "", **attributes: Any) -> str:
        self.nodes.append(new_node(op, inputs, out, name=called, **attributes))
        return out

    def constant(self, label: str, value: Any) -> str:
        return add_constant(self._graph, f"{self._out}/{label}", value)

    def reshaped(self, name: str, sizes: Sequence[int], label: str) -> str:
        wanted = self.constant(f"{label} sizes", np.array(sizes, np.int64))
        return self.add("Reshape", [name, wanted], f"{self._out}/{label}")

    def padded(self, name: str, before: Sequence[int], behind: Sequence[int], *, label: str) -> str:
        pads, out = [*before, *behind], f"{self._out}/{label}"
        # An attribute until opset 11.
        if self._opset < 11:
            return self.add("Pad", [name], out, pads=pads)
        return self.add("Pad", [name, self.constant(f"{label} pads", np.array(pads, np.int64))], out)
