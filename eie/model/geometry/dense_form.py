"""A layer as other software runs it, every weight there: one ONNX operator with its weights and the shape it reads.

Comes in: weights and a count of products. Goes out: a frozen `DenseForm`. Made by the geometries, read by whoever
measures a layer on the computer at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
