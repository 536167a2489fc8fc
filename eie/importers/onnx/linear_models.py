"""Linear models of ONNX's domain for machine learning, whose weights are attributes, as the Gemm that they are.

Comes in: a parsed model. Goes out: the same one, rewritten in place. Called by `normalise`. By the operators'
definitions in ai.onnx.ml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eie.importers.onnx.kinds import FLOAT, kinds_of
from eie.importers.onnx.rewriting import add_constant, new_node, replace_nodes

if TYPE_CHECKING:
    import onnx

_DOMAIN = "ai.onnx.ml"
_LINEAR = ("LinearClassifier", "LinearRegressor")
# What is done to the sums of a row, by our operators; the others stay with their node.
_BEHIND = {"LOGISTIC": ("Sigmoid", None), "NONE": ("Identity", None), "SOFTMAX": ("Softmax", -1)}


def make_products(proto: onnx.ModelProto) -> None:
    """Replace LinearRegressor, and LinearClassifier where each class has a row of weights."""
    if not any(node.domain == _DOMAIN and node.op_type in _LINEAR for node in proto.graph.node):
        return
    kinds = kinds_of(proto)
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        linear = node.domain == _DOMAIN and node.op_type in _LINEAR and len(node.input) == 1
        # A product of integers would be another one.
        made = _apart(proto.graph, node) if linear and kinds.get(node.input[0]) == FLOAT else None
        nodes += [node] if made is None else made
    replace_nodes(proto.graph, nodes)


def _apart(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    from onnx import helper

    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    weights = np.asarray(attributes.get("coefficients", ()), np.float32)
    shifts = np.asarray(attributes.get("intercepts", ()), np.float32)
    behind = _BEHIND.get(attributes.get("post_transform", b"NONE").decode(errors="replace"))
    regressor = node.op_type == "LinearRegressor"
    labels = np.asarray(attributes.get("classlabels_ints", ()), np.int64)
    rows = int(attributes.get("targets", 1)) if regressor else len(labels)
    # One row for two classes is turned into two scores, in a way that hangs on what stands behind.
    odd = rows < 1 or weights.size == 0 or weights.size % rows or len(shifts) not in (0, rows)
    if behind is None or odd or not node.input or not node.output:
        return None
    scores = node.output[0] if regressor else next(iter(node.output[1:2]), "") or f"{node.output[0]}/scores"
    return [
        *_product(graph, node, weights=weights.reshape(rows, -1), shifts=shifts, scores=scores, behind=behind),
        *([] if regressor else _classes(graph, node.output[0], labels=labels, scores=scores)),
    ]


def _product(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    *,
    weights: np.ndarray[Any, np.dtype[np.float32]],
    shifts: np.ndarray[Any, np.dtype[np.float32]],
    scores: str,
    behind: tuple[str, int | None],
) -> list[onnx.NodeProto]:
    op, axis = behind
    inner = scores if op == "Identity" else f"{scores}/sums"
    names = [node.input[0], add_constant(graph, f"{scores}/coefficients", weights)]
    if shifts.size:
        names.append(add_constant(graph, f"{scores}/intercepts", shifts))
    product = new_node("Gemm", names, inner, name=node.name, transB=1)
    return [product] if op == "Identity" else [product, new_node(op, [inner], scores, axis=axis)]


def _classes(
    graph: onnx.GraphProto, out: str, *, labels: np.ndarray[Any, np.dtype[np.int64]], scores: str
) -> list[onnx.NodeProto]:
    """Return what gives the label of the largest score; a name that is empty is not asked for."""
    if not out:
        return []
    largest, table = f"{out}/place", add_constant(graph, f"{out}/labels", labels)
    return [
        new_node("ArgMax", [scores], largest, axis=-1, keepdims=0),
        new_node("Gather", [table, largest], out, axis=0),
    ]
