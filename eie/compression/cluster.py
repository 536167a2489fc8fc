"""Where clustering starts: the least squared error of k values, whatever the range of the weights.

Comes in: sorted float32 values. Goes out: k means, within a stated bound of the optimum, and prefix sums for refining
them. Read by `eie.compression.share`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.kernels import cluster

# Where there are more distinct values, the start lies some 1e-6 above the optimum at 15 levels and 4e-4 at 255, for
# 0.04 and 0.4 s. The error falls and the time grows with the square and the first power of it.
BINS = 8192


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
