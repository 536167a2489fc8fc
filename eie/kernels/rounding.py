"""Real numbers into fixed point, and how far the one is from the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def to_raw(values: NDArray[Any], scale: float, top: int, raw: NDArray[np.int64]) -> None:
    """Round ``scale`` times the values (N,) to whole numbers from ``-top - 1`` to ``top``, halves up, into ``raw``."""
    high, low = np.float64(top), np.float64(-top - 1)
    for i in range(values.shape[0]):
        scaled = np.floor(np.float64(values[i]) * scale + 0.5)
        # Not min and max: a NaN is to come out as numpy's conversion has it, and passes both comparisons.
        scaled = high if scaled > high else scaled
        scaled = low if scaled < low else scaled
        raw[i] = np.int64(scaled)


@njit
def largest_difference(raw: NDArray[np.int64], scale: np.float32, real: NDArray[np.float32]) -> np.float32:
    """Return the largest magnitude of ``scale * raw - real`` (N,), each step in float32; inf or NaN if there is any."""
    largest = np.int32(0)
    for i in range(raw.shape[0]):
        difference = abs(np.float32(np.float32(raw[i]) * scale) - real[i])
        # Without a sign floats are ordered as their bits are, infinity and NaN last; and whole numbers are compared
        # side by side, which floats are not, since of two NaN the later one would count.
        largest = max(largest, np.float32(difference).view(np.int32))
    return np.int32(largest).view(np.float32)
