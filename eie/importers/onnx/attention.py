"""Attention with its projection inside, as onnxruntime's optimiser fuses it: the projection apart, the rest as it was.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. A product with weights is a
layer; what queries, keys and values do to each other is onnxruntime's MultiHeadAttention, on the host. By
onnxruntime's documentation of its own domain.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eie.errors import ModelError
from eie.importers.onnx.nodes import printable
from eie.importers.onnx.rewriting import constants_of, divided, new_node, replace_nodes

if TYPE_CHECKING:
    import onnx

_DOMAIN = "com.microsoft"
# What both operators have.
_KEPT = ("mask_filter_value", "num_heads", "scale", "unidirectional")


def take_attention_apart(path: Path, graph: onnx.GraphProto, opset: int) -> None:
    """Replace Attention and QAttention whose weights are constant.

    Raises
    ------
    ModelError
        If weights are no matrix: onnxruntime reads behind their end, and takes the process with it.
    """
    if not any(node.op_type in ("Attention", "QAttention") and node.domain == _DOMAIN for node in graph.node):
        return
    constant, shapes = constants_of(graph), {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output if name}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        made = None
        if node.domain == _DOMAIN and node.op_type in ("Attention", "QAttention") and node.output:
            shape = shapes.get(next(iter(node.input[1:2]), ""))
            if shape is not None and len(shape) != 2:
                where = f"{path}: node {printable(node.name or node.output[0])!r} ({node.op_type})"
                raise ModelError(f"{where}: weights of shape {shape}: must be (inputs, outputs)")
            made = _Fused(graph=graph, node=node, shapes=shapes, makers=makers, opset=opset).apart(constant)
        nodes += [node] if made is None else made
    replace_nodes(graph, nodes)


class _Fused:
    """One node; its results are called after what it gives out."""

    def __init__(
        self,
        *,
        graph: onnx.GraphProto,
        node: onnx.NodeProto,
        shapes: dict[str, tuple[int, ...]],
        makers: dict[str, onnx.NodeProto],
        opset: int,
    ) -> None:
        from onnx import helper

        self._graph, self._node, self._shapes, self._makers, self._opset = graph, node, shapes, makers, opset
        self._attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        self._out = node.output[0]
        self._nodes: list[onnx.NodeProto] = []

    def apart(self, constant: set[str]) -> list[onnx.NodeProto] | None:
        """Return the nodes that take its place; None for a form that has none."""
        quantised = self._node.op_type == "QAttention"
        names = (*self._node.input, *([""] * 9))[:9]
        x, weights, bias = names[:3]
        # Keys and values of steps before, or turned by where they stand, are more than a projection and an attention.
        mask, others = (names[5], names[8:]) if quantised else (names[3], (names[4], names[6]))
        widths = self._widths(weights)
        if weights not in constant or not x or any(others) or any(self._node.output[1:]) or widths is None:
            return None
        if self._attributes.get("do_rotary", 0):
            return None
        if quantised:
            x = self._real(x, names[3], names[6], label="inputs")
            weights = self._real(weights, names[4], names[7], label="weights")
        product = f"{self._out}/projected"
        self._nodes.append(new_node("MatMul", [x, weights], product, name=self._node.name))
        if bias:
            self._nodes.append(new_node("Add", [product, bias], f"{self._out}/with bias"))
            product = f"{self._out}/with bias"
        parts = [f"{self._out}/{label}" for label in ("queries", "keys", "values")]
        self._nodes.append(divided(self._graph, product, parts, sizes=widths, axis=2, opset=self._opset))
        more = () if quantised else names[5:6]
        kept: dict[str, Any] = {key: self._attributes[key] for key in _KEPT if key in self._attributes}
        self._nodes.append(new_node("MultiHeadAttention", [*parts, "", mask, *more], self._out, domain=_DOMAIN, **kept))
        return self._nodes

    def _widths(self, weights: str) -> list[int] | None:
        stated = [int(size) for size in self._attributes.get("qkv_hidden_sizes", ())]
        shape = self._shapes.get(weights, ())
        if len(stated) == 3:
            return stated
        return [shape[1] // 3] * 3 if len(shape) == 2 and shape[1] and shape[1] % 3 == 0 else None

    def _real(self, name: str, scale: str, zero: str, *, label: str) -> str:
        """Return the floats of a quantised input; of one that is quantised as it comes those that it was."""
        maker = self._makers.get(name)
        if maker is not None and maker.op_type == "DynamicQuantizeLinear":
            return str(maker.input[0])
        real = f"{self._out}/real {label}"
        many = len(self._shapes.get(scale, ())) == 1 and self._shapes[scale] != (1,)
        names = [name, scale, *([zero] if zero else [])]
        self._nodes.append(new_node("DequantizeLinear", names, real, axis=1 if many else None))
        return real
