"""Operators that onnxruntime's optimiser has fused, taken apart again into those that the reader knows.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. By onnxruntime's
documentation of its own domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eie.importers.onnx.rewriting import add_constant, clipped, new_node, replace_nodes

if TYPE_CHECKING:
    import onnx

_DOMAIN = "com.microsoft"
_FUSED = ("FusedConv", "FusedGemm", "FusedMatMul", "MatMulNBits", "TransposeMatMul")
_ACTIVATIONS = ("Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh")


def take_apart(graph: onnx.GraphProto, opset: int) -> None:
    """Replace FusedConv, FusedGemm and FusedMatMul, and add what MatMulNBits adds behind it."""
    if not any(node.domain == _DOMAIN and node.op_type in _FUSED for node in graph.node):
        return
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        made = _apart(graph, node, opset) if node.domain == _DOMAIN and node.op_type in _FUSED else None
        nodes += [node] if made is None else made
    replace_nodes(graph, nodes)


def _apart(graph: onnx.GraphProto, node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto] | None:
    from onnx import helper

    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type in ("FusedMatMul", "TransposeMatMul"):
        return _matmul(graph, node, attributes=attributes, opset=opset)
    if node.op_type == "MatMulNBits":
        return _with_bias(node) if any(node.input[5:6]) else None
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
    return [*nodes, *_activation(graph, activation, parameters, inner=inner, out=out, opset=opset)]


def _activation(
    graph: onnx.GraphProto, activation: str, parameters: list[float], *, inner: str, out: str, opset: int
) -> list[onnx.NodeProto]:
    if activation == "Clip":
        low, high = (*parameters, None, None)[:2]
        return [clipped(graph, inner, out, low=low, high=high, opset=opset)]
    if activation == "HardSigmoid":
        alpha, beta = (*parameters, None, None)[:2]
        return [new_node(activation, [inner], out, alpha=alpha, beta=beta)]
    if activation == "LeakyRelu":
        return [new_node("LeakyRelu", [inner], out, alpha=parameters[0] if parameters else 0.01)]
    return [new_node(activation or "Identity", [inner], out)]


def _with_bias(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    product = type(node).FromString(node.SerializeToString())
    product.input[5], product.output[0] = "", f"{node.output[0]}/product"
    return [product, new_node("Add", [product.output[0], node.input[5]], node.output[0])]


def _matmul(
    graph: onnx.GraphProto, node: onnx.NodeProto, attributes: dict[str, Any], opset: int
) -> list[onnx.NodeProto] | None:
    weights = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    place = next((i for i in (1, 0) if node.input[i] in weights), None)
    if place is None or any(attributes.get(key) for key in ("transBatchA", "transBatchB")):
        return None
    across = bool(attributes.get("transA" if place else "transB"))
    # The activation's rank is not known here, and an Einsum need not know it.
    if across and (opset < 12 or weights[node.input[place]] != 2):
        return None
    out, name, nodes = node.output[0], node.input[place], []
    if attributes.get("transB" if place else "transA"):
        order = list(range(weights[name]))
        order[-2:] = order[:-3:-1]
        nodes.append(new_node("Transpose", [name], f"{out}/turned", perm=order))
        name = f"{out}/turned"
    if float(attributes.get("alpha", 1.0)) != 1:
        # On the weights, where it is folded: the accelerator has no factor behind its sums.
        nodes.append(new_node("Mul", [name, _held(graph, f"{out}/alpha", attributes["alpha"])], f"{out}/scaled"))
        name = f"{out}/scaled"
    sides = [node.input[0], name] if place else [name, node.input[1]]
    if across:
        equation = "...im,io->...mo" if place else "oi,...mi->...om"
        return [*nodes, new_node("Einsum", sides, out, name=node.name, equation=equation)]
    return [*nodes, new_node("MatMul", sides, out, name=node.name)]


def _held(graph: onnx.GraphProto, name: str, value: float) -> str:
    return add_constant(graph, name, np.float32(value))


def _kept(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if not key.startswith("activation")}
