"""Sigmoid: 1 / (1 + exp(-x)).

Takes one tensor of any shape, without attributes; gives one of the same shape. LSTM gates use the same function.
"""

import numpy as np

from eie.model.operators.channels import kept
from eie.model.operators.from_onnx import elementwise
from eie.model.operators.registry import Array, Operator, register


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    # tanh levels off by itself, where exp(-x) overflows below -88 in float32.
    half: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return half


register(
    Operator(
        name="sigmoid",
        compute=lambda x, _: sigmoid(x[0]),
        channels=kept,
        torch=lambda x, _: x[0].sigmoid(),
        onnx={"Sigmoid": elementwise("sigmoid")},
    )
)
