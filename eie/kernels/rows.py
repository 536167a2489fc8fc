"""What is not zero among inputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit

# Of a float32: all ones in infinite numbers and NaN alone, and what is left of a number without its sign.
_EXPONENT = np.int32(0x7F800000)
_MAGNITUDE = np.int32(0x7FFFFFFF)


@njit
def count_nonzeros(numbers: NDArray[np.int32]) -> int:
    """Count what is not zero among float32 numbers (N,) seen as int32; -1 if one of them is infinite or NaN."""
    count, largest = 0, np.int32(0)
    for i in range(numbers.shape[0]):
        # Without its sign, which a zero may have too; whole numbers are compared several at a time, floats are not.
        magnitude = np.int32(numbers[i] & _MAGNITUDE)
        largest = max(largest, magnitude)
        count += magnitude != 0
    return count if largest < _EXPONENT else -1


@njit
def take_nonzeros(numbers: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    """List what is not zero among the numbers (N,); ``values`` has room for one more."""
    count = 0
    for i in range(numbers.shape[0]):
        # Written whether it counts or not: which number is zero is nothing that a processor could guess.
        values[count] = numbers[i]
        count += numbers[i] != 0


@njit
def place_nonzeros(marks: NDArray[np.uint8], values: NDArray[np.float32], numbers: NDArray[np.float32]) -> None:
    """Put back what `take_nonzeros` listed: the next of the values, one or more, where ``marks`` (N,) is 1, else 0."""
    count, last = np.int64(0), values.shape[0] - 1
    for i in range(marks.shape[0]):
        # Read whether it counts or not, as above; behind the last one there is none.
        value = values[min(count, last)]
        numbers[i] = value if marks[i] else np.float32(0)
        count += np.int64(marks[i])
