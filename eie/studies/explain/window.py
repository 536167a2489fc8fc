"""A large fully connected layer by some of its columns: enough to tell which change is better.

Comes in: a `Form`. Goes out: a `Form` of fewer columns. Read by `forms`, for screening only: what is printed is run on
all columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns

# Fewer columns and what a product costs once, filling and writing back, hides what its columns cost.
LEAST_COLUMNS = 256
# Fewer that are active, and chance says which PE is busiest: advice on 51 was 6 % short of the best.
LEAST_ACTIVE = 128
# Neighbours stay together: what lies in one row of the SRAM is read once, and a queue evens out what follows closely.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class CutFrom:
    """The matrix that a window is a part of: weights of each row, int64 (rows,), and how many columns it has."""

    rows: NDArray[np.int64]
    columns: int

    @classmethod
    def of(cls, matrix: SparseColumns) -> CutFrom:
        """Count a matrix."""
        return cls(np.bincount(matrix.rows, minlength=matrix.shape[0]), matrix.shape[1])


def window_of(layer: Layer, uses: Mapping[str, LayerTrace], *, entries: int) -> tuple[Layer, dict[str, LayerTrace]]:
    """Return a layer of about so many entries and what it reads; the same one where it has no more, or is tied.

    Blocks of columns from all over the layer, placed so that the share of active ones is the layer's.
    """
    count = columns_in(layer, uses, entries)
    if count == layer.matrix.shape[1]:
        return layer, dict(uses)
    masks = {use: read.mask for use, read in uses.items()}
    kept = _blocks(np.concatenate(list(masks.values())), count)
    reads = {
        use: replace(read, width=count, bits=np.packbits(masks[use][:, kept], axis=1), values=None, size=())
        for use, read in uses.items()
    }
    return replace(layer, matrix=columns_of(layer.matrix, kept)), reads


def columns_in(layer: Layer, uses: Mapping[str, LayerTrace], entries: int) -> int:
    """Return how many columns a window of about so many entries has: all where there are no more, or they are tied."""
    rows, columns = layer.matrix.shape
    count = max(LEAST_COLUMNS, entries * columns // max(1, layer.matrix.nnz))
    # A layer that is no more than its matrix takes another shape; of any other a column is no part.
    if layer.geometry.fitted((rows, count)).matrix_shape != (rows, count):
        return columns
    active = min((read.density for read in uses.values()), default=1.0)
    count = max(count, math.ceil(LEAST_ACTIVE / max(active, 1 / columns)))
    # Nearly all is not worth cutting, and leaves no room to place blocks.
    return count if 4 * count <= 3 * columns else columns


def _blocks(mask: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Return so many columns in order, blocks spread over all of them, as active together as all are."""
    columns = mask.shape[1]
    blocks = count // BLOCK
    size, gap = np.diff(np.linspace(0, count, blocks + 1).astype(np.intp)), columns // blocks
    starts = np.arange(blocks) * columns // blocks
    # active[i]: activations of the first i columns, so that two of them tell what is in a block.
    active = np.concatenate(([0], np.cumsum(mask.sum(axis=0))))
    offsets = np.arange(gap - size.max() + 1)[:, None]
    total = (active[starts + offsets + size] - active[starts + offsets]).sum(axis=1)
    offset = np.abs(total * columns - active[-1] * count).argmin()
    places = zip(starts + offset, size, strict=True)
    return np.concatenate([np.arange(start, start + length) for start, length in places])


def columns_of(matrix: SparseColumns, columns: NDArray[np.intp]) -> SparseColumns:
    """Return a matrix of some of the columns, in the order given."""
    sizes = np.diff(matrix.starts)[columns]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    # Of each kept entry its place in the whole: that of its column's first, and how many are before it.
    places = np.arange(starts[-1]) + np.repeat(matrix.starts[columns] - starts[:-1], sizes)
    data: NDArray[Any] = matrix.data[places]
    return SparseColumns.of(shape=(matrix.shape[0], len(columns)), starts=starts, rows=matrix.rows[places], data=data)
