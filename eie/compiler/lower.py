"""Lowering beyond what a layer already is: another geometry in its place, and matrices made of independent blocks.

Comes in: a `Layer`. Goes out: a `Layer` with another matrix, and the blocks in which a matrix is encoded. Read by
`program`. Lowering by im2col and of LSTMs needs no step here: such layers hold the lowered matrix already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.geometry import Alternative
from eie.model.geometry import lowering as alternative
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns
from eie.show.numbers import percent

Lowering = Literal["im2col", "winograd"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Block:
    """One matrix on the diagonal of a layer's: its codes, where it begins, its bias as codes, numbers or neither."""

    row: int
    column: int
    codes: SparseColumns
    bias_codes: NDArray[np.uint8] | None
    bias: NDArray[np.float32] | None


def lower(layer: Layer, lowering: Lowering) -> tuple[Layer, str | None]:
    """Lower a layer as asked, where that applies; the second value is a note for the report.

    Raises
    ------
    ModelError
        For an unknown lowering.
    """
    if lowering not in get_args(Lowering):
        raise ModelError(f"lowering={lowering!r}: must be 'im2col' or 'winograd'")
    # None for im2col, which is how a convolution is held already.
    way = alternative(lowering)
    other = None if way is None else way.instead_of(layer.geometry)
    if other is None:
        return layer, None
    transformed = relowered(layer, other)
    note = (
        f"{layer.name} by {other.words}: non-zero weights {percent(layer.weight_density)} % before the transform, "
        f"{percent(transformed.weight_density)} % after"
    )
    return transformed, note


def relowered(layer: Layer, other: Alternative) -> Layer:
    """Put another geometry that computes the same in the place of a layer's own.

    The weights are float32 again, also where they were shared; compilation clusters them anew.
    """
    weights, bias = layer.stored_weights, layer.bias
    if layer.codebook is not None:
        # A transform adds weights up: their sums are on no codebook, so values are needed and not codes.
        weights = layer.codebook[weights]
        # At most one of the two is there: as a column's codes, or in float32 for the accumulators.
        bias = bias if layer.bias_codes is None else layer.codebook[layer.bias_codes]
    matrix, bias = other.transformed(weights, bias)
    return replace(layer, matrix=matrix, codebook=None, bias=bias, bias_codes=None, geometry=other)


def blocks(layer: Layer) -> list[Block]:
    """Return the independent matrices that a weight-shared layer consists of: one, or as Winograd's 16."""
    count = layer.geometry.products_per_row
    # A grouped convolution stays one matrix: zeros outside its blocks are not stored, and one product serves all
    # groups.
    if count == 1:
        return [Block(row=0, column=0, codes=layer.matrix, bias_codes=layer.bias_codes, bias=layer.bias)]
    # Exact: a matrix of such a geometry is made of `count` blocks of one size.
    outputs, inputs = (size // count for size in layer.matrix.shape)
    parts = []
    for i in range(count):
        row, column = i * outputs, i * inputs
        # On the diagonal nothing stands above or below a block, so its columns are a range of the whole matrix's.
        first, last = layer.matrix.starts[[column, column + inputs]]
        codes = SparseColumns.of(
            shape=(outputs, inputs),
            # One more than columns: the end of the last one.
            starts=layer.matrix.starts[column : column + inputs + 1] - first,
            rows=layer.matrix.rows[first:last] - row,
            data=layer.matrix.data[first:last],
        )
        # One of Winograd's 16 sums reaches all four output pixels with factor 1: a bias there is added once to each.
        owned = slice(row, row + outputs if i == layer.geometry.bias_block else row)
        bias_codes, bias = (_owned(values, owned) for values in (layer.bias_codes, layer.bias))
        parts.append(Block(row=row, column=column, codes=codes, bias_codes=bias_codes, bias=bias))
    return parts


def _owned(values: NDArray[Any] | None, rows: slice) -> NDArray[Any] | None:
    """Return the bias of a block's rows; None where it has none."""
    return None if values is None or rows.start == rows.stop else values[rows]
