"""A layer as other software runs it, every weight there: one ONNX operator with its weights and the shape it reads.

Comes in: weights and a count of products. Goes out: a frozen `DenseForm`. Made by the geometries, read by whoever
measures a layer on the computer at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eie.show.brief import Brief


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class DenseForm(Brief):
    """One ONNX operator.

    Attributes
    ----------
    weights
        Its inputs behind the first, in order.
    input_shape
        Of its first input.
    """

    op: str
    weights: tuple[NDArray[Any], ...]
    input_shape: tuple[int, ...]
    attributes: Mapping[str, Any]


class Windowed(Protocol):
    """A convolution of however many axes; pads are those in front of each axis, then those behind."""

    @property
    def in_channels(self) -> int: ...
    @property
    def kernel(self) -> tuple[int, ...]: ...
    @property
    def stride(self) -> tuple[int, ...]: ...
    @property
    def pads(self) -> tuple[int, ...]: ...
    @property
    def dilation(self) -> tuple[int, ...]: ...
    @property
    def groups(self) -> int: ...


def conv_form(conv: Windowed, weights: NDArray[Any], *, products: int, batch: int) -> DenseForm:
    """Return ``Conv`` over a map as square, a volume as cubic, as so many outputs allow."""
    size = smallest_map(conv, nearly_square(products, len(conv.kernel)))
    return windowed_form("Conv", conv, weights, input_shape=(batch, conv.in_channels, *size))


def windowed_form(
    op: str, conv: Windowed, weights: NDArray[Any], *, input_shape: tuple[int, ...], **more: Any
) -> DenseForm:
    """Return a convolution's operator; ``more`` are attributes that not all of them have."""
    attributes = {
        "kernel_shape": conv.kernel,
        "strides": conv.stride,
        "pads": conv.pads,
        "dilations": conv.dilation,
        **more,
        "group": conv.groups,
    }
    return DenseForm(op=op, weights=(float32(weights),), input_shape=input_shape, attributes=attributes)


def padded_by(conv: Windowed) -> tuple[int, ...]:
    """Return how much longer its pads make each axis."""
    axes = len(conv.kernel)
    return tuple(before + behind for before, behind in zip(conv.pads[:axes], conv.pads[axes:], strict=True))


def smallest_map(conv: Windowed, outputs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the smallest map that gives so many outputs an axis; 1 where pads alone would give more."""
    axes = zip(outputs, conv.stride, conv.dilation, conv.kernel, padded_by(conv), strict=True)
    return tuple(max(1, (size - 1) * step + gap * (kernel - 1) + 1 - pad) for size, step, gap, kernel, pad in axes)


def nearly_square(count: int, axes: int) -> tuple[int, ...]:
    """Return ``axes`` whole numbers whose product is ``count``, as near to each other as they can be, ascending.

    Examples
    --------
    >>> nearly_square(784, 2), nearly_square(200, 2), nearly_square(13, 2), nearly_square(64, 3)
    ((28, 28), (10, 20), (1, 13), (4, 4, 4))
    """
    if axes == 1:
        return (count,)
    # From the root down: the first divisor is the nearest. The half is for roots of large numbers that end below.
    near = math.floor(count ** (1 / axes) + 0.5)
    first = next(size for size in range(max(1, near), 0, -1) if count % size == 0)
    return tuple(sorted((first, *nearly_square(count // first, axes - 1))))


def float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return an array as operators on a CPU take it."""
    return np.ascontiguousarray(array, np.float32)
