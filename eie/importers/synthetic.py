"""Weights and patterns drawn at random, for models of which only shapes, densities or patterns are known.

Comes in: sizes, densities, a generator. Goes out: arrays. Read by the ``.toml`` and ``.smtx`` importers, which label
what they make of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def weight_levels(non_zeros_per_output: float) -> NDArray[np.float32]:
    """Return 15 non-zero values, so that 4-bit sharing is exact, scaled to keep the sum of an output near 1."""
    levels = np.concatenate((np.arange(-7, 0), np.arange(1, 9))).astype(np.float32)
    levels /= np.float32(8 * np.sqrt(max(1.0, non_zeros_per_output)))
    return levels


def draw_weights(levels: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw ``count`` of the levels."""
    drawn: NDArray[np.float32] = levels[rng.integers(0, len(levels), count, np.uint8)]
    return drawn


def bernoulli(size: int, density: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ascending places in range(size), each taken with probability ``density``, in time proportional to how many."""
    if density == 0 or size == 0:
        return np.zeros(0, np.int64)
    chunks, reached = [], -1
    while reached < size:
        steps = rng.geometric(density, int((size - reached) * density * 1.01) + 64)
        places = reached + np.cumsum(np.minimum(steps, size))
        chunks.append(places)
        reached = int(places[-1])
    places = np.concatenate(chunks)
    return places[: np.searchsorted(places, size)]
