"""Clustering numbers: at most k levels with all but the least squared error, whatever the range of the numbers.

Comes in: sorted float32 values. Goes out: levels, within a stated bound of the optimum, and which one each value takes.
Read by `eie.compression.share` and `eie.compression.bias`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eie.kernels import cluster

Initialisation = Literal["exact", "linear", "density", "random"]
LLOYD_ROUNDS = 100
# Where there are more distinct values, the start lies some 1e-6 above the optimum at 15 levels and 4e-4 at 255, for
# 0.04 and 0.4 s. The error falls and the time grows with the square and the first power of it.
BINS = 8192


def levels_of(ordered: NDArray[np.float32], levels: int, init: Initialisation, *, seed: int = 0) -> NDArray[np.float32]:
    """Choose at most ``levels`` ascending levels for sorted values: the values themselves if they are few enough."""
    if distinct(ordered) <= levels:
        return np.unique(ordered)
    return _lloyd(ordered, _start(ordered=ordered, levels=levels, init=init, seed=seed))


def distinct(ordered: NDArray[np.float32]) -> int:
    """Count the different values among sorted ones."""
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1])) if len(ordered) else 0


def nearest_codes(values: NDArray[np.float32], centroids: NDArray[np.float32], first: int) -> NDArray[np.uint8]:
    """Return ``first`` + the index of the nearest of the ascending ``centroids`` for every value."""
    # Midpoints in float64: in float32 the mean of neighbours can round onto one of them.
    borders = (centroids[1:].astype(np.float64) + centroids[:-1]) / 2
    return (np.searchsorted(borders, values, side="left") + first).astype(np.uint8)


def relative_error(error: NDArray[np.float32], values: NDArray[np.float32]) -> float:
    """Root of the summed squared error over the root of the summed squared values; 0.0 where there are none."""
    # Squared in float64: in float32 the square of 1e-30 is 0, that of 1e30 infinite.
    energy, total = (float(np.square(numbers, dtype=np.float64).sum()) for numbers in (error, values))
    return float(np.sqrt(energy / total)) if total else 0.0


def start_near_optimum(ordered: NDArray[np.float32], levels: int) -> NDArray[np.float64]:
    """Return the ascending means of at most ``levels`` clusters with all but the least squared error.

    Parameters
    ----------
    ordered
        Ascending, at least one.
    levels
        At least 1. Fewer come out only where there are fewer distinct values.

    Notes
    -----
    Values are binned by always splitting the bin with the largest inner error, then an exact programme clusters the
    bins' means. Up to `BINS` distinct values this is the optimum. Otherwise, with W the error inside the bins, the
    error is at most ``(sqrt(OPT) + sqrt(W))**2 + W``: moving every value to its bin's mean moves it by sqrt(W) in all,
    so by the triangle inequality the optimal centroids cost the means at most the square, and the programme finds no
    more; moving the values back adds W exactly, since means leave no cross term. W is about OPT (levels / BINS)^2,
    on heavy tails too; bins of equal width or equal count have no such bound there. Codebooks hold float32, which adds
    at most half a unit in the last place to each value's error.
    """
    starts, means, errors = np.zeros(BINS, np.int64), np.zeros(BINS), np.zeros(BINS)
    bins = cluster.split_bins(ordered=ordered, starts=starts, means=means, errors=errors)
    order = np.argsort(starts[:bins])
    edges = np.append(starts[order], len(ordered))
    splits = np.zeros(min(levels, bins) + 1, np.int64)
    cluster.exact_splits(mass=edges.astype(np.float64), values=means[order], splits=splits)
    mass = np.diff(edges)
    return np.add.reduceat(mass * means[order], splits[:-1]) / np.add.reduceat(mass, splits[:-1])


def prefix_sums(ordered: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 (n + 1,) whose difference [j] - [i] is the sum of the ascending ``ordered[i:j]``.

    They are counted outwards from zero, so that none holds values larger than those next to it: counted from the
    left, a single -1e8 in front would cost every later sum eight digits.
    """
    sums = np.zeros(len(ordered) + 1)
    zero = int(np.searchsorted(ordered, np.float32(0)))
    np.cumsum(ordered[zero:], dtype=np.float64, out=sums[zero + 1 :])
    np.cumsum(ordered[:zero][::-1], dtype=np.float64, out=sums[:zero][::-1])
    np.negative(sums[:zero], out=sums[:zero])
    return sums


def _start(ordered: NDArray[np.float32], levels: int, init: Initialisation, seed: int) -> NDArray[np.float64]:
    """Choose where Lloyd's algorithm begins on sorted values."""
    if init == "linear":
        return np.linspace(float(ordered[0]), float(ordered[-1]), levels)
    if init == "density":
        # The middle of each equal share of the sorted weights.
        shares = (np.arange(levels) + 0.5) / levels
        return ordered[(shares * len(ordered)).astype(np.int64)].astype(np.float64)
    if init == "random":
        # Of distinct values, so that no two clusters begin in one place.
        drawn = np.random.default_rng(seed).choice(np.unique(ordered), levels, replace=False)
        return np.sort(drawn).astype(np.float64)
    return start_near_optimum(ordered, levels)


def _lloyd(ordered: NDArray[np.float32], centroids: NDArray[np.float64]) -> NDArray[np.float32]:
    """Refine centroids on sorted data until the borders stand still; a cluster left empty keeps its centroid."""
    first = prefix_sums(ordered)
    borders = np.zeros(0, np.int64)
    for _ in range(LLOYD_ROUNDS):
        exact = (centroids[1:] + centroids[:-1]) / 2
        middles = exact.astype(np.float32)
        # Searching in float64 would copy all values, so the border is rounded, and upwards: a value lies below the
        # border exactly if it lies below the next float32, while one rounded down can join two neighbouring values.
        middles = np.where(middles < exact, np.nextafter(middles, np.float32(np.inf)), middles)
        new = np.concatenate(([0], np.searchsorted(ordered, middles, "left"), [len(ordered)]))
        if np.array_equal(new, borders):
            break
        borders = new
        sizes = np.diff(borders)
        centroids = np.where(sizes > 0, np.diff(first[borders]) / np.maximum(sizes, 1), centroids)
    return np.unique(centroids.astype(np.float32))
