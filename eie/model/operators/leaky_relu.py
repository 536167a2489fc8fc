"""Leaky ReLU: negative numbers are multiplied by a small ``slope`` (0.01).

Takes one tensor of any shape; gives one of the same shape.
"""

import numpy as np

from eie.model.operators.channels import kept
from eie.model.operators.from_onnx import Builder, OnnxNode, Value
from eie.model.operators.registry import Operator, register


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    slope = float(node.attributes.get("alpha", 0.01))
    into.set(node.outputs[0], into.emit("leaky_relu", [x], node.outputs[0], slope=slope))


register(
    Operator(
        name="leaky_relu",
        # Not the larger of x and slope * x: that is another function for slopes above 1.
        compute=lambda x, at: np.where(x[0] < 0, x[0] * at.get("slope", 0.01), x[0]),
        channels=kept,
        torch=lambda x, at: x[0].where(x[0] >= 0, x[0] * at.get("slope", 0.01)),
        onnx={"LeakyRelu": _read},
        stays=("LeakyRelu",),
    )
)
