"""Lowering beyond what a layer already is: convolutions by Winograd, and matrices made of independent blocks.

Comes in: a `Layer`. Goes out: a `Layer` with another matrix, and the blocks in which a matrix is encoded. Read by
`program`. Lowering by im2col and of LSTMs needs no step here: such layers hold the lowered matrix already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.model.geometry import Conv2d, Winograd
from eie.model.matrix import SparseColumns, frozen
from eie.model.network import Layer

Lowering = Literal["im2col", "winograd"]
# Adding b to element (1, 1) of a transformed tile adds b to all four output pixels.
BIAS_BLOCK = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class Block:
    """One matrix on the diagonal of a layer's: its codes and where it begins; bias codes or None."""

    row: int
    column: int
    codes: SparseColumns
    bias_codes: NDArray[np.uint8] | None


def lower(layer: Layer, lowering: Lowering) -> tuple[Layer, str | None]:
    """Lower a layer as asked, where that applies; the second value is a note for the report.

    Raises
    ------
    ModelError
        For an unknown lowering.
    """
    if lowering not in get_args(Lowering):
        raise ModelError(f"lowering={lowering!r}: must be 'im2col' or 'winograd'")
    if lowering == "im2col" or not isinstance(layer.geometry, Conv2d) or not Winograd.applies(layer.geometry):
        return layer, None
    transformed = winograd(layer)
    note = (
        f"{layer.name} by Winograd F(2x2, 3x3), 16 products a tile: non-zero weights {layer.weight_density:.1%} before "
        f"the transform, {transformed.weight_density:.1%} after"
    )
    return transformed, note


def winograd(layer: Layer) -> Layer:
    """Transform a 3x3, stride-1 convolution: 16 (out) x (in) matrices on the diagonal of one; one of them has the bias.

    The weights are float32 again, also where the kernel was shared; compilation clusters them anew.
    """
    geometry = Winograd(layer.geometry) if isinstance(layer.geometry, Conv2d) else None
    if geometry is None:
        raise ModelError(f"layer {layer.name!r} is no convolution: Winograd does not apply")
    elements = geometry.transform_kernel(layer.kernel).astype(np.float32)
    block, row, column = np.nonzero(elements)
    outputs, inputs = elements.shape[1:]
    matrix = SparseColumns.from_entries(
        shape=geometry.matrix_shape,
        rows=block * outputs + row,
        columns=block * inputs + column,
        data=elements[block, row, column],
    )
    given = layer.bias
    if layer.bias_codes is not None and layer.codebook is not None:
        given = layer.codebook[layer.bias_codes]
    bias = None
    if given is not None:
        spread = np.zeros((Winograd.BLOCKS, outputs), np.float32)
        spread[BIAS_BLOCK] = given
        bias = frozen(spread.reshape(-1), np.float32)
    return replace(layer, matrix=matrix, codebook=None, bias=bias, bias_codes=None, geometry=geometry)


def blocks(layer: Layer) -> list[Block]:
    """Return the independent matrices that a weight-shared layer consists of: one, or Winograd's 16."""
    if not isinstance(layer.geometry, Winograd):
        return [Block(row=0, column=0, codes=layer.matrix, bias_codes=layer.bias_codes)]
    outputs, inputs = (size // Winograd.BLOCKS for size in layer.matrix.shape)
    found = []
    for i in range(Winograd.BLOCKS):
        row, column = i * outputs, i * inputs
        first, last = layer.matrix.starts[[column, column + inputs]]
        codes = SparseColumns.of(
            shape=(outputs, inputs),
            starts=layer.matrix.starts[column : column + inputs + 1] - first,
            rows=layer.matrix.rows[first:last] - row,
            data=layer.matrix.data[first:last],
        )
        bias = None if layer.bias_codes is None or i != BIAS_BLOCK else layer.bias_codes[row : row + outputs]
        found.append(Block(row=row, column=column, codes=codes, bias_codes=bias))
    return found
