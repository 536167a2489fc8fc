"""A large fully connected layer by some of its columns: enough to tell which change is better.

Comes in: a `Form`. Goes out: a `Form` of fewer columns. Read by `forms`, for screening only: what is printed is run on
all columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns

# Fewer columns and what a product costs once, filling and writing back, hides what its columns cost.
LEAST_COLUMNS = 256


def window_of(layer: Layer, uses: Mapping[str, LayerTrace], *, entries: int) -> tuple[Layer, dict[str, LayerTrace]]:
    """Return a layer of about so many entries and what it reads; the same one where it has no more, or is tied.

    Active and idle columns stay in their proportion, and both are spread over all of the layer.
    """
    count = columns_in(layer, entries)
    if count == layer.matrix.shape[1]:
        return layer, dict(uses)
    masks = {use: read.mask for use, read in uses.items()}
    kept = _spread(np.concatenate(list(masks.values())), count)
    reads = {
        use: replace(read, width=count, bits=np.packbits(masks[use][:, kept], axis=1), values=None, size=())
        for use, read in uses.items()
    }
    return replace(layer, matrix=columns_of(layer.matrix, kept)), reads


def columns_in(layer: Layer, entries: int) -> int:
    """Return how many columns a window of about so many entries has: all where there are no more, or they are tied."""
    rows, columns = layer.matrix.shape
    count = max(LEAST_COLUMNS, entries * columns // max(1, layer.matrix.nnz))
    # A layer that is no more than its matrix takes another shape; of any other a column is no part.
    return count if count < columns and layer.geometry.fitted((rows, count)).matrix_shape == (rows, count) else columns


def _spread(mask: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Return so many columns in order, of each number of activations its share."""
    # Stable: columns that are active alike lie in their order, so that even steps go over all of the layer.
    order = np.argsort(mask.sum(axis=0), kind="stable")
    steps = (2 * np.arange(count) + 1) * len(order) // (2 * count)
    return np.sort(order[steps])


def columns_of(matrix: SparseColumns, columns: NDArray[np.intp]) -> SparseColumns:
    """Return a matrix of some of the columns, in the order given."""
    sizes = np.diff(matrix.starts)[columns]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    # Of each kept entry its place in the whole: that of its column's first, and how many are before it.
    places = np.arange(starts[-1]) + np.repeat(matrix.starts[columns] - starts[:-1], sizes)
    data: NDArray[Any] = matrix.data[places]
    return SparseColumns.of(shape=(matrix.shape[0], len(columns)), starts=starts, rows=matrix.rows[places], data=data)
