"""Flattening to two axes, those before ``axis`` (1) and the rest.

Takes one tensor; gives a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eie.model.operators.channels import Channels, Operand
from eie.model.operators.from_onnx import Builder, OnnxNode, Value, reshaped
from eie.model.operators.registry import Array, Attributes, Operator, Shape, register


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    axis = at.get("axis", 1)
    axis = axis if axis >= 0 else axis + x[0].ndim
    # Of an empty tuple np.prod gives 1.0, a float, unless it is told otherwise.
    return x[0].reshape(int(np.prod(x[0].shape[:axis], dtype=np.int64)), -1)


def _shape(shapes: Sequence[Shape], at: Attributes) -> Shape:
    axis = at.get("axis", 1)
    axis += len(shapes[0]) if axis < 0 else 0
    return math.prod(shapes[0][:axis]), math.prod(shapes[0][axis:])


def _channels(x: Sequence[Operand], at: Attributes) -> Channels | None:
    """A channel of a map becomes a block of numbers."""
    (maps,) = x
    # At any other axis channels end up among the rows or apart from their maps.
    if not isinstance(maps, Channels) or maps.flat or at.get("axis", 1) != 1:
        return None
    return maps.flattened(blocks=True)


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    reshaped(into, x, out=node.outputs[0], sizes=_shape([x.shape], {"axis": int(node.attributes.get("axis", 1))}))


register(
    Operator(
        name="flatten",
        compute=_compute,
        exact=True,
        shape=_shape,
        channels=_channels,
        torch=lambda x, at: x[0].flatten(at.get("axis", 1)),
        onnx={"Flatten": _read},
    )
)
