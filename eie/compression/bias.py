"""A bias at a layer's levels: what it costs to store it as one more column of the matrix.

Comes in: a float bias and the levels that the weights chose. Goes out: a `BiasColumn`. Read by `eie.compression.share`,
which decides whether the bias becomes that column or the accumulators start from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.compression.cluster import nearest_codes, relative_error, start_near_optimum
from eie.errors import ModelError

BiasPlace = Literal["auto", "column", "accumulator"]
# The programme takes the square of it in memory and time: 8 MB and 50 ms. Biases of more values are binned first.
MOST_POINTS = 1024


@dataclass(frozen=True, eq=False, kw_only=True)
class BiasColumn:
    """A bias as codes into a codebook that begins with zero and then ascends; errors are those of the bias."""

    codebook: NDArray[np.float32]
    codes: NDArray[np.uint8]
    max_error: float
    relative_error: float


def check_place(bias: object) -> None:
    """Raise `ModelError` for what is no `BiasPlace`."""
    if bias not in get_args(BiasPlace):
        raise ModelError(f"bias={bias!r}: must be one of {', '.join(get_args(BiasPlace))}")


def bias_column(bias: NDArray[np.float32], own: NDArray[np.float32], levels: int) -> BiasColumn:
    """Code a bias (outputs,) by zero, by the weights' ``own`` ascending levels, and by those they leave of ``levels``.

    The weights' levels stay as they are; the free ones lie where they serve the bias best.
    """
    extra = free_levels(bias, np.union1d(own, np.zeros(1, np.float32)), levels - len(own))
    codebook = np.concatenate((np.zeros(1, np.float32), np.union1d(own, extra)))
    # Zero first and then ascending, negative levels too: sorted it is once more what `nearest_codes` takes.
    order = np.argsort(codebook, kind="stable")
    codes = order[nearest_codes(bias, codebook[order], 0)].astype(np.uint8)
    error = codebook[codes] - bias
    return BiasColumn(
        codebook=codebook,
        codes=codes,
        max_error=float(np.abs(error).max(initial=0)),
        relative_error=relative_error(error, bias),
    )


def free_levels(values: NDArray[np.float32], fixed: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Choose ``count`` levels, or fewer if that is enough, that serve ``values`` best beside the ``fixed`` ones.

    The least squared error up to `MOST_POINTS` values that no fixed level holds exactly; above, that of their bins.
    """
    points, mass = np.unique(values[~np.isin(values, fixed)], return_counts=True)
    if len(points) <= max(count, 0):
        return points
    if count <= 0:
        return np.zeros(0, np.float32)
    places, weights = points.astype(np.float64), mass.astype(np.float64)
    if len(points) > MOST_POINTS:
        ordered = np.repeat(points, mass)
        places = start_near_optimum(ordered, MOST_POINTS)
        # Of bins, not of levels: more than a code can name.
        bins = np.searchsorted((places[1:] + places[:-1]) / 2, ordered)
        weights = np.bincount(bins, minlength=len(places)).astype(np.float64)
    runs = _best_runs(points=places, mass=weights, fixed=fixed.astype(np.float64), count=count)
    means = [np.average(places[start:stop], weights=weights[start:stop]) for start, stop in runs]
    return np.array(means, np.float32)


def _best_runs(
    points: NDArray[np.float64], mass: NDArray[np.float64], fixed: NDArray[np.float64], count: int
) -> list[tuple[int, int]]:
    """Find at most ``count`` runs of ascending points, each to have a level at its mean; the rest take fixed levels.

    ``best[j]`` is the least error of the first j points with the runs so far: point j - 1 ends a run, or does not.
    """
    nearest = fixed[np.searchsorted((fixed[1:] + fixed[:-1]) / 2, points)]
    alone = mass * np.square(points - nearest)
    within = _run_errors(points, mass)
    best = np.concatenate(([0.0], np.cumsum(alone)))
    # begins[k][j]: where the run begins that ends with point j - 1, with k more runs before it; -1 for none.
    begins = np.full((count, len(points) + 1), -1)
    for k in range(count):
        ending = best[:-1, None] + within
        first = ending.argmin(axis=0)
        following = best.copy()
        for j, start in enumerate(first):
            kept = following[j] + alone[j]
            if ending[start, j] < kept:
                begins[k, j + 1] = start
            following[j + 1] = min(kept, ending[start, j])
        best = following
    runs, k, j = [], count - 1, len(points)
    while j and k >= 0:
        start = int(begins[k, j])
        if start >= 0:
            runs.append((start, j))
            k -= 1
        j = start if start >= 0 else j - 1
    return runs[::-1]


def _run_errors(points: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n): summed squared error of the points from i to j, both included, about their mean; infinite for j < i."""
    n = len(points)
    errors = np.full((n, n), np.inf)
    mean, error, weight = points, np.zeros(n), mass
    for length in range(n):
        starts = np.arange(n - length)
        errors[starts, starts + length] = error
        # Every run grows by its next point: no difference of large sums, beside which a small error would be lost.
        gap = points[length + 1 :] - mean[:-1]
        added = mass[length + 1 :]
        total = weight[:-1] + added
        mean, error = mean[:-1] + gap * added / total, error[:-1] + gap * gap * weight[:-1] * added / total
        weight = total
    return errors
