"""Operators that onnxruntime's optimiser has fused, taken apart again into those that the reader knows.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. By onnxruntime's
documentation of its own domain.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from eie.importers.onnx.rewriting import add_constant, clipped, new_node, replace_nodes, reshaped

if TYPE_CHECKING:
    import onnx

_DOMAIN = "com.microsoft"
_FUSED = ("FusedConv", "FusedGemm", "FusedMatMul", "MatMulNBits", "TransposeMatMul")
_ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid")


def take_apart(graph: onnx.GraphProto, opset: int) -> None:
    """Replace FusedConv, FusedGemm and FusedMatMul, and take the bias off a MatMulNBits."""
    if not any(node.domain == _DOMAIN and node.op_type in _FUSED for node in graph.node):
        return
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        # With less than two inputs it is damaged, which is said where it is read.
        fused = node.domain == _DOMAIN and node.op_type in _FUSED and node.output and len(node.input) > 1
        made = _apart(graph, node, opset) if fused else None
        nodes += [node] if made is None else made
    replace_nodes(graph, nodes)


def _apart(graph: onnx.GraphProto, node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto] | None:
    from onnx import helper

    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    # The second is the first by an older name.
    if node.op_type in ("FusedMatMul", "TransposeMatMul"):
        return _matmul(graph, node, attributes, opset=opset)
    if node.op_type == "MatMulNBits":
        return _with_bias(node)
    activation = attributes.pop("activation", b"").decode(errors="replace")
    parameters = [float(value) for value in attributes.pop("activation_params", ())]
    parameters += [float(attributes.pop(key)) for key in ("activation_alpha", "activation_beta") if key in attributes]
    if activation not in (*_ACTIVATIONS, ""):
        return None
    out = node.output[0]
    inner, inputs = f"{out}/sum", list(node.input)
    nodes = []
    # A convolution's fourth input is added to its result.
    beside = inputs.pop(3) if node.op_type == "FusedConv" and len(inputs) > 3 else ""
    first = f"{out}/product" if beside else inner
    nodes.append(new_node(node.op_type.removeprefix("Fused"), inputs, first, name=node.name, **_kept(attributes)))
    if beside:
        nodes.append(new_node("Add", [first, beside], inner))
    return [*nodes, *activation_nodes(graph, activation, parameters, inner=inner, out=out, opset=opset)]


def activation_nodes(
    graph: onnx.GraphProto, activation: str, parameters: list[float], *, inner: str, out: str, opset: int
) -> list[onnx.NodeProto]:
    """Return what a function that was fused into ``inner`` makes of it."""
    if activation == "Clip":
        low, high = (*parameters, None, None)[:2]
        return [clipped(graph, inner, out, low=low, high=high, opset=opset)]
    if activation == "LeakyRelu":
        return [new_node("LeakyRelu", [inner], out, alpha=parameters[0] if parameters else 0.01)]
    if activation == "HardSigmoid":
        alpha, beta = (*parameters, 0.2, 0.5)[:2] if len(parameters) > 1 else (0.2, 0.5)
        return [new_node("HardSigmoid", [inner], out, alpha=alpha, beta=beta)]
    return [new_node(activation or "Identity", [inner], out)]


def _matmul(
    graph: onnx.GraphProto, node: onnx.NodeProto, attributes: dict[str, Any], *, opset: int
) -> list[onnx.NodeProto] | None:
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    inside = [name in sizes for name in node.input[:2]]
    if any(attributes.get(key) for key in ("transBatchA", "transBatchB")) or inside.count(True) != 1:
        return None
    place, out, nodes = inside.index(True), node.output[0], []
    name, other = node.input[place], node.input[1 - place]
    turned, across = (
        bool(attributes.get(key)) for key in (("transA", "transB") if place == 0 else ("transB", "transA"))
    )
    shape = sizes[name]
    # The activation's rank is not known here, and an Einsum need not know it; of weights it takes a matrix.
    if across and (opset < 12 or len(shape) < 2 or math.prod(shape[:-2]) != 1):
        return None
    if turned:
        order = list(range(len(shape)))
        order[-2:] = order[:-3:-1]
        nodes.append(new_node("Transpose", [name], f"{out}/turned", perm=order))
        name, shape = f"{out}/turned", [*shape[:-2], *shape[:-3:-1]]
    if float(attributes.get("alpha", 1.0)) != 1:
        # On the weights, where it is folded: the accelerator has no factor behind its sums.
        nodes.append(new_node("Mul", [name, _held(graph, f"{out}/alpha", attributes["alpha"])], f"{out}/scaled"))
        name = f"{out}/scaled"
    if not across:
        inputs = [name, other] if place == 0 else [other, name]
        return [*nodes, new_node("MatMul", inputs, out, name=node.name)]
    if len(shape) > 2:
        nodes.append(reshaped(graph, name, f"{out}/matrix", sizes=shape[-2:], opset=opset))
        name = f"{out}/matrix"
    equation = "...im,io->...mo" if place else "...ni,mi->...mn"
    return [*nodes, new_node("Einsum", [other, name], out, name=node.name, equation=equation)]


def _with_bias(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Add the bias behind the product, as exporters do; the optimiser takes it in."""
    if len(node.input) < 6 or not node.input[5]:
        return None
    product, out = type(node)(), node.output[0]
    product.CopyFrom(node)
    del product.input[5:]
    product.output[0] = f"{out}/product"
    return [product, new_node("Add", [product.output[0], node.input[5]], out)]


def _held(graph: onnx.GraphProto, name: str, value: float) -> str:
    return add_constant(graph, name, np.float32(value))


def _kept(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if not key.startswith("activation")}
