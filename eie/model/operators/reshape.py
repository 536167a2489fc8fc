"""Another shape: ``shape`` of the whole tensor; 0 keeps a size, -1 is inferred.

Takes one tensor; gives the same numbers. The batch is to be written as 0 or -1, since its size varies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eie.model.operators.channels import Channels, Labels, Operand, Taken
from eie.model.operators.from_onnx import Builder, OnnxNode, UnsupportedError, Value, constant_inputs, reshaped
from eie.model.operators.registry import Array, Attributes, Operator, Shape, register


def target_shape(shape: Shape, wanted: Sequence[int], *, allow_zero: bool) -> Shape:
    """Resolve the 0 (keep) and -1 (infer) of a reshape.

    Raises
    ------
    ValueError
        If the sizes do not agree.
    """
    sizes = list(wanted)
    # With ONNX's allowzero a 0 is a size; without, it keeps the input's at that place.
    if not allow_zero:
        sizes = [shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    if sizes.count(-1) == 1:
        # The product holds the -1, so its negative is that of the known sizes; where one is 0, nothing can be inferred.
        rest = -math.prod(sizes)
        sizes[sizes.index(-1)] = math.prod(shape) // rest if rest else 0
    if any(size < 0 for size in sizes) or math.prod(sizes) != math.prod(shape):
        raise ValueError(f"{shape} cannot be reshaped to {list(wanted)}")
    return tuple(sizes)


def _kept_sizes(shape: Shape, at: Attributes) -> list[int]:
    return [shape[i] if size == 0 else size for i, size in enumerate(at["shape"])]


def _channels(x: Sequence[Operand], at: Attributes) -> Channels | None:
    """As flattening, where that is what it does: all numbers of a sample in one row."""
    (maps,) = x
    shape = tuple(at.get("shape", ()))
    # Other shapes may part a channel's numbers or join them with another's.
    if not isinstance(maps, Channels) or maps.flat or len(shape) != 2 or shape[0] != 0:
        return None
    return maps.flattened(blocks=True)


def _take(_: Sequence[Operand], __: Sequence[Labels | None], at: Attributes) -> Taken:
    # Fewer channels are fewer numbers: as many as there are then.
    return {}, {**at, "shape": (0, -1)}


def _read(node: OnnxNode, into: Builder, x: Value) -> None:
    inputs, attributes = constant_inputs(node, into), node.attributes
    wanted = inputs[1] if len(inputs) > 1 else np.array(attributes["shape"])
    if wanted is None:
        raise UnsupportedError("its shape is not constant")
    allow_zero = bool(attributes.get("allowzero", 0))
    sizes = target_shape(x.shape, [int(size) for size in wanted.ravel()], allow_zero=allow_zero)
    reshaped(into, x, out=node.outputs[0], sizes=sizes)


def _compute(x: Sequence[Array], at: Attributes) -> Array:
    return x[0].reshape(_kept_sizes(x[0].shape, at))


register(
    Operator(
        name="reshape",
        compute=_compute,
        exact=True,
        shape=lambda shapes, at: target_shape(shapes[0], at["shape"], allow_zero=False),
        channels=_channels,
        take=_take,
        torch=lambda x, at: x[0].reshape(_kept_sizes(tuple(x[0].shape), at)),
        onnx={"Reshape": _read},
    )
)
