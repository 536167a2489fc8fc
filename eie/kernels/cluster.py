"""One-dimensional k-means: exact on a weighted, sorted list of points, by divide and conquer.

The cost of a cluster [i, j) of sorted points is its weighted variance, which satisfies the quadrangle
inequality: the best last split of the first j points never moves left as j grows, so each of the k layers of
the dynamic programme takes O(n log n) (Wang and Song, The R Journal 3/2, 2011, give the recurrence; Gronlund et
al., arXiv 1701.07204, the divide and conquer).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit


@inlined
def _cost(mass: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64], i: int, j: int) -> float:
    weight = mass[j] - mass[i]
    if weight <= 0:
        return 0.0
    moment = first[j] - first[i]
    # Differences of large prefix sums can come out a little below zero; a cost may not, or a split would gain by it.
    cost: float = max(second[j] - second[i] - moment * moment / weight, 0.0)
    return cost


@njit
def exact_splits(
    mass: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    splits: NDArray[np.int64],
) -> None:
    """Fill ``splits`` (k + 1,) with the borders of the k clusters of least weighted variance.

    ``mass``, ``first``, ``second`` (n + 1,) are prefix sums of weight, weight x value and weight x value^2.
    """
    n, k = mass.shape[0] - 1, splits.shape[0] - 1
    # Two layers of costs are enough, each is made of the one before; the choices are all kept, to walk back along.
    best = np.empty(n + 1)
    following = np.empty(n + 1)
    choice = np.zeros((k + 1, n + 1), np.int64)
    # A stack of our own, numba has no cheap recursion. Ranges halve, so at most one waits a level: 128 do for any n.
    stack = np.empty((128, 4), np.int64)
    for j in range(n + 1):
        best[j] = _cost(mass, first, second, 0, j)
    for layer in range(2, k + 1):
        stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, n, 0, n
        depth = 1
        while depth > 0:
            depth -= 1
            low, high, split_low, split_high = (
                stack[depth, 0],
                stack[depth, 1],
                stack[depth, 2],
                stack[depth, 3],
            )
            if low > high:
                continue
            j = (low + high) // 2
            least, at = np.inf, split_low
            # The last cluster begins at or before j, and only splits that the neighbours' leave open are tried.
            for i in range(split_low, min(j, split_high) + 1):
                total = best[i] + _cost(mass, first, second, i, j)
                if total < least:
                    least, at = total, i
            following[j] = least
            choice[layer, j] = at
            # Points left of j split at or left of `at`, those right of it at or right: that bounds both halves.
            stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = low, j - 1, split_low, at
            depth += 1
            stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = j + 1, high, at, split_high
            depth += 1
        best, following = following, best
    splits[k] = n
    # From the last cluster back: where it begins is where the one before it ends.
    for layer in range(k, 1, -1):
        splits[layer - 1] = choice[layer, splits[layer]]
    splits[0] = 0
