"""Real numbers into fixed point."""

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
