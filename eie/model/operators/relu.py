"""ReLU: negative numbers become zero.

Takes one tensor of any shape, without attributes; gives one of the same shape.
"""

import numpy as np

from eie.model.operators.channels import kept
from eie.model.operators.from_onnx import elementwise
from eie.model.operators.registry import Operator, register

register(
    Operator(
        name="relu",
        compute=lambda x, _: np.maximum(x[0], 0),
        exact=True,
        channels=kept,
        torch=lambda x, _: x[0].relu(),
        onnx={"Relu": elementwise("relu")},
        stays=("Relu",),
    )
)
