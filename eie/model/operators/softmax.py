"""Softmax over ``axis`` (-1).

Takes one tensor; gives one of the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value
from eie.model.operators.registry import Array, Attributes, Operator, register


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    axis = at.get("axis", -1)
    # Relative to the largest, which changes nothing but keeps exp from overflowing.
    powers: Array = np.exp(x[0] - x[0].max(axis=axis, keepdims=True))
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    """Over one axis; older operator sets mean everything from that axis on, which is the same for the last one."""
    # The default moved from 1 to -1 with operator set 13.
    default = -1 if node.attributes["opset"] >= 13 else 1
    axis = int(node.attributes.get("axis", default))
    if node.attributes["opset"] < 13 and axis % len(x.shape) != len(x.shape) - 1:
        raise UnsupportedError("over several axes")
    into.set(node.outputs[0], into.emit("softmax", [x], node.outputs[0], axis=x.axis(axis)))


# Every number depends on all others, so no channel can be taken out before it; but each stays in its place.
register(
    Operator(name="softmax", compute=_compute, keeps_places=True, gives_probabilities=True, onnx={"Softmax": _read})
)
