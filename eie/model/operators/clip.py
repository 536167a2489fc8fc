"""Clipping to ``low`` and ``high``, either of which may be absent; ReLU6 is 0 and 6.

Takes one tensor of any shape; gives one of the same shape. A QuantizeLinear on activations is read as one, too.
"""

import math
from typing import Any

import numpy as np

from eie.model.operators.channels import kept
from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value, constant
from eie.model.operators.registry import Operator, register


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    """Take the bounds from attributes (old) or inputs."""
    bounds = {}
    for place, (theirs, ours) in enumerate((("min", "low"), ("max", "high")), 1):
        # An input left out in the middle is an empty name, so the list may be long enough and still say nothing.
        if len(node.inputs) > place and node.inputs[place]:
            bounds[ours] = float(constant(node, into, place).reshape(()))
        elif theirs in node.attributes:
            bounds[ours] = float(node.attributes[theirs])
    _emit(node=node, into=into, x=x, bounds=bounds)


def _read_quantise(node: OnnxNode, into: Builder, x: Value) -> None:
    """Keep the saturation, which can be a ReLU in disguise, and leave the rounding out; the notes say so."""
    scale = constant(node, into, 1)
    # Without a zero point ONNX means uint8.
    zero = constant(node, into, 2) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1, np.uint8)
    if scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
        raise UnsupportedError("quantises activations by channel or to floating point")
    bounds = np.iinfo(zero.dtype)
    step, offset = float(scale.reshape(())), int(zero.reshape(()))
    into.left_out.append(node.name)
    _emit(node=node, into=into, x=x, bounds={"low": (bounds.min - offset) * step, "high": (bounds.max - offset) * step})


def _emit(node: OnnxNode, into: Builder, x: Value, bounds: dict[str, float]) -> None:
    # Exporters write "no bound" as infinity or as the largest float32.
    finite: dict[str, Any] = {key: bound for key, bound in bounds.items() if math.isfinite(bound) and abs(bound) < 3e38}
    # No bound at all: no node is needed, the tensor goes by another name.
    into.set(node.outputs[0], into.emit("clip", [x], node.outputs[0], **finite) if finite else x)


register(
    Operator(
        name="clip",
        compute=lambda x, at: np.clip(x[0], at.get("low", -np.inf), at.get("high", np.inf)),
        channels=kept,
        torch=lambda x, at: x[0].clamp(at.get("low"), at.get("high")),
        onnx={"Clip": _read, "QuantizeLinear": _read_quantise},
        stays=("Clip",),
    )
)
