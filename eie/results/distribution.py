"""What the samples of a batch come to: their mean, and how far they lie apart.

Comes in: a number a sample. Goes out: a `Distribution`, or the mean alone. Read by layers, results and sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Distribution:
    """Mean, median and 99th percentile over the samples of a batch."""

    mean: float
    p50: float
    p99: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> Distribution:
        """Summarise (N,) numbers."""
        # One sample is its own mean and percentiles; this is asked for several times a layer, so the search is saved.
        if len(values) == 1:
            return cls(*[float(values[0])] * 3)
        return cls(float(values.mean()), *(float(q) for q in np.percentile(values, (50, 99))))


def per_sample(values: NDArray[np.int64]) -> float:
    """Return the mean over the samples."""
    # An integer stays one: counts of a single sample are exact and are printed without a fraction.
    return int(values[0]) if len(values) == 1 else float(values.mean())
