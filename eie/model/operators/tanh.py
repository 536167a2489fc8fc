"""Hyperbolic tangent.

Takes one tensor of any shape, without attributes; gives one of the same shape.
"""

import numpy as np

from eie.model.operators.channels import kept
from eie.model.operators.from_onnx import elementwise
from eie.model.operators.registry import Operator, register

register(
    Operator(
        name="tanh",
        compute=lambda x, _: np.tanh(x[0]),
        channels=kept,
        torch=lambda x, _: x[0].tanh(),
        onnx={"Tanh": elementwise("tanh")},
    )
)
