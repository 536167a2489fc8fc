"""One-dimensional k-means: bins of sorted values, and the exact programme on weighted, sorted points.

Comes in: sorted float32 values. Goes out: bins with their means, and which runs of bins form the best k clusters.
Read by `eie.compression.cluster`.

The cost of a cluster of sorted points is its weighted variance, which satisfies the quadrangle inequality: the best
last split of the first j points never moves left as j grows, nor as clusters are added, so each of the k layers of
the dynamic programme takes O(n log n) (Wang and Song, The R Journal 3/2, 2011, give the recurrence; Gronlund et
al., arXiv 1701.07204, the divide and conquer).

No cost here is the difference of two large sums: prefix sums of squares, the textbook way, lose every variance below
1e-16 of the largest square, which is all of them beside a single outlier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def _mean_and_error(ordered: NDArray[np.float32], start: int, stop: int) -> tuple[float, float]:
    """Return mean and summed squared error about it of sorted values [start, stop)."""
    # The mean lies within one standard deviation of the median, so about the median at least half of the sum of
    # squares remains after the correction: one pass, no cancellation.
    middle = np.float64(ordered[(start + stop) // 2])
    # Four chains of additions: one alone waits for the adder's latency at every element.
    sum_a, sum_b, sum_c, sum_d = 0.0, 0.0, 0.0, 0.0
    square_a, square_b, square_c, square_d = 0.0, 0.0, 0.0, 0.0
    i = start
    while i + 4 <= stop:
        # np.float64, not float: numba keeps float(float32) in float32, where the square of 1e-30 is 0.
        a, b = np.float64(ordered[i]) - middle, np.float64(ordered[i + 1]) - middle
        c, d = np.float64(ordered[i + 2]) - middle, np.float64(ordered[i + 3]) - middle
        sum_a, sum_b, sum_c, sum_d = sum_a + a, sum_b + b, sum_c + c, sum_d + d
        square_a, square_b, square_c, square_d = square_a + a * a, square_b + b * b, square_c + c * c, square_d + d * d
        i += 4
    while i < stop:
        a = np.float64(ordered[i]) - middle
        sum_a += a
        square_a += a * a
        i += 1
    total = (sum_a + sum_b) + (sum_c + sum_d)
    squares = (square_a + square_b) + (square_c + square_d)
    return middle + total / (stop - start), squares - total * total / (stop - start)


@njit
def _after(ordered: NDArray[np.float32], start: int, stop: int, value: float) -> int:
    """Return the first index in [start, stop) whose element exceeds ``value``, or ``stop``."""
    while start < stop:
        middle = (start + stop) // 2
        if np.float64(ordered[middle]) > value:
            stop = middle
        else:
            start = middle + 1
    return start


@njit
def _sink(heap: NDArray[np.int64], size: int, errors: NDArray[np.float64]) -> None:
    """Restore the heap, largest error on top, after its top changed."""
    at, moved = 0, heap[0]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and errors[heap[child + 1]] > errors[heap[child]]:
            child += 1
        if errors[heap[child]] <= errors[moved]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = moved


@njit
def _rise(heap: NDArray[np.int64], at: int, errors: NDArray[np.float64]) -> None:
    """Restore the heap after an element was added at index ``at``."""
    moved = heap[at]
    while at > 0 and errors[heap[(at - 1) // 2]] < errors[moved]:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = moved


@njit
def split_bins(
    ordered: NDArray[np.float32],
    starts: NDArray[np.int64],
    means: NDArray[np.float64],
    errors: NDArray[np.float64],
) -> int:
    """Split sorted values into bins, always the bin of the largest inner error and at its mean; return how many.

    ``starts``, ``means``, ``errors`` (bins,) take each bin's first index, mean and summed squared error, in no order.
    Fewer bins than that come out only where none holds two different values: then every error is exactly 0.
    """
    capacity = starts.shape[0]
    stops = np.empty(capacity, np.int64)
    heap = np.zeros(capacity, np.int64)
    starts[0], stops[0] = 0, ordered.shape[0]
    means[0], errors[0] = _mean_and_error(ordered, 0, ordered.shape[0])
    count = 1
    while count < capacity and errors[heap[0]] > 0:
        parent = heap[0]
        start, stop = starts[parent], stops[parent]
        cut = _after(ordered, start, stop, means[parent])
        # A mean of very many values can round onto the largest of them: then only that value is cut off.
        if cut == stop:
            cut = _after(ordered, start, stop, np.nextafter(ordered[stop - 1], np.float32(-np.inf)))
        stops[parent] = cut
        means[parent], errors[parent] = _mean_and_error(ordered, start, cut)
        _sink(heap, count, errors)
        starts[count], stops[count] = cut, stop
        means[count], errors[count] = _mean_and_error(ordered, cut, stop)
        heap[count] = count
        _rise(heap, count, errors)
        count += 1
    return count


@njit
def _fill_spans(
    mass: NDArray[np.float64],
    values: NDArray[np.float64],
    highest: NDArray[np.int64],
    means: NDArray[np.float64],
    errors: NDArray[np.float64],
) -> None:
    """Fill ``means`` and ``errors`` (levels, n) of the points between i and the middle of its block of 2^(h+1).

    Any two points part at the middle of exactly one block, that of the highest bit in which their indices differ;
    ``highest`` (2^levels,) looks it up. So the error of any run of points is that of two spans, merged.
    """
    levels, n = means.shape
    for x in range(2, highest.shape[0]):
        highest[x] = highest[x >> 1] + 1
    for h in range(levels):
        half = 1 << h
        # No run ends beyond a middle that lies beyond the points, so such a block is left out, and of one that is
        # not the left half is whole.
        for middle in range(half, n, 2 * half):
            for side in range(2):
                weight, mean, error = 0.0, 0.0, 0.0
                for step in range(min(half, n - middle) if side else half):
                    i = middle + step if side else middle - 1 - step
                    own = mass[i + 1] - mass[i]
                    gap = values[i] - mean
                    error += gap * gap * (weight * own / (weight + own))
                    weight += own
                    mean += gap * (own / weight)
                    means[h, i], errors[h, i] = mean, error


@njit
def _add_costs(
    mass: NDArray[np.float64],
    highest: NDArray[np.int64],
    means: NDArray[np.float64],
    errors: NDArray[np.float64],
    first: int,
    last: int,
    costs: NDArray[np.float64],
) -> None:
    """Add to ``costs`` (run,) the summed squared errors of the points i to ``last``, for each i from ``first`` on.

    Points that part from ``last`` at one middle stand side by side: a loop over them has nothing to look up, and runs
    as many lanes wide as the machine divides.
    """
    i, stop = first, first + costs.shape[0]
    while i < min(stop, last):
        h = highest[i ^ last]
        middle = (last >> h) << h
        right, mean, error = mass[last + 1] - mass[middle], means[h, last], errors[h, last]
        end = min(middle, stop)
        begins, their_means, their_errors = mass[i:end], means[h, i:end], errors[h, i:end]
        into, before = costs[i - first : end - first], mass[middle]
        for k in range(end - i):
            left = before - begins[k]
            gap = mean - their_means[k]
            into[k] += their_errors[k] + error + gap * gap * (left * right / (left + right))
        i = end


@njit
def exact_splits(mass: NDArray[np.float64], values: NDArray[np.float64], splits: NDArray[np.int64]) -> None:
    """Fill ``splits`` (k + 1,) with the borders of the k clusters of least weighted variance.

    ``values`` (n,) ascend; ``mass`` (n + 1,) are the prefix sums of their weights, all above 0; k <= n.
    """
    n, k = values.shape[0], splits.shape[0] - 1
    levels = 1
    while 1 << levels < n:
        levels += 1
    means, errors = np.zeros((levels, n)), np.zeros((levels, n))
    highest = np.zeros(1 << levels, np.int64)
    _fill_spans(mass, values, highest, means, errors)
    best = np.empty(n + 1)
    following = np.empty(n + 1)
    # Index of a layer's last split; of the layer before, since a split never moves left as clusters are added.
    choice = np.zeros((k + 1, n + 1), np.int32)
    stack = np.empty((128, 4), np.int64)
    best[0] = 0.0
    costs = np.empty(n)
    for j in range(1, n + 1):
        costs[0] = 0.0
        _add_costs(mass, highest, means, errors, 0, j - 1, costs[:1])
        best[j] = costs[0]
    for layer in range(2, k + 1):
        # Fewer points than clusters cannot fill them, and of the last layer only the whole is asked for.
        stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = n if layer == k else layer, n, layer - 1, n - 1
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
            first, stop = max(split_low, choice[layer - 1, j]), min(j - 1, split_high) + 1
            totals = costs[: max(0, stop - first)]
            totals[:] = best[first : first + totals.shape[0]]
            _add_costs(mass, highest, means, errors, first, j - 1, totals)
            for i in range(totals.shape[0]):
                if totals[i] < least:
                    least, at = totals[i], first + i
            following[j] = least
            choice[layer, j] = at
            stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = low, j - 1, split_low, at
            depth += 1
            stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = j + 1, high, at, split_high
            depth += 1
        best, following = following, best
    splits[k] = n
    for layer in range(k, 1, -1):
        splits[layer - 1] = choice[layer, splits[layer]]
    splits[0] = 0
