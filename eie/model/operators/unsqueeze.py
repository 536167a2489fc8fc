"""With a further axis of one place at each of ``axes``, counted in the result.

Takes one tensor; gives the same numbers.
"""

from __future__ import annotations

import numpy as np

from eie.model.operators.from_onnx import Builder, OnnxNode, Value, axes_of, constant_inputs, reshaped
from eie.model.operators.registry import Operator, Shape, register


def unsqueezed(shape: Shape, axes: list[int]) -> Shape:
    """Return ``shape`` with a 1 inserted at each of ``axes``, counted in the result."""
    # Negative axes count from the end of the result, not of the input.
    rank = len(shape) + len(axes)
    places = {axis % rank for axis in axes}
    if len(places) != len(axes) or any(not -rank <= axis < rank for axis in axes):
        raise ValueError(f"axes {axes} in {rank} dimensions")
    rest = iter(shape)
    return tuple(1 if i in places else next(rest) for i in range(rank))


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    axes = axes_of(constant_inputs(node, into), node.attributes) or []
    sizes = unsqueezed(x.shape, axes)
    new = {axis % len(sizes) for axis in axes}
    batch = [i for i in range(len(sizes)) if i not in new][x.batch] if x.batch >= 0 else None
    reshaped(into, x, out=node.outputs[0], sizes=sizes, batch=batch)


register(
    Operator(
        name="unsqueeze",
        compute=lambda x, at: np.expand_dims(x[0], tuple(at["axes"])),
        exact=True,
        shape=lambda shapes, at: unsqueezed(shapes[0], list(at["axes"])),
        onnx={"Unsqueeze": _read},
    )
)
