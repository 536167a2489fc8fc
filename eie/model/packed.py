"""A sparse matrix put away: a bit for each place instead of four bytes for each row number, where that is less.

Comes in: `SparseColumns` that nobody reads for a while. Goes out: the same, when they are read again. Used where many
forms of a network are kept until all are there, as a study of granularities does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.model.matrix import SparseColumns, frozen
from eie.show.brief import Brief


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PackedColumns(Brief):
    """Non-zeros listed column by column, their rows as bits.

    Attributes
    ----------
    shape, starts, data
        As `SparseColumns` has them.
    bits
        uint8 (columns, ceil(rows / 8)): bit ``r % 8`` of byte ``r // 8`` is set where row ``r`` is not zero.
    """

    shape: tuple[int, int]
    starts: NDArray[np.int64]
    bits: NDArray[np.uint8]
    data: NDArray[Any]

    def unpacked(self) -> SparseColumns:
        """Return the matrix as it was; its rows are listed when they are asked for."""
        return SparseColumns.noted(shape=self.shape, starts=self.starts, bits=self.bits, data=self.data)


def packed(matrix: SparseColumns) -> SparseColumns | PackedColumns:
    """Return the smaller of both: bits take less from one non-zero in 32 places on."""
    from eie.kernels import columns as kernels

    if matrix.is_full:
        # Another of the same numbers: this one may have been asked for its rows.
        return SparseColumns(shape=matrix.shape, starts=matrix.starts, listed=None, data=matrix.data)
    if matrix.bits is not None:
        return PackedColumns(shape=matrix.shape, starts=matrix.starts, bits=matrix.bits, data=matrix.data)
    rows, columns = matrix.shape
    width = -(-rows // 8)
    if columns * width >= matrix.rows.nbytes:
        return matrix
    bits = np.zeros((columns, width), np.uint8)
    kernels.note_rows(matrix.starts, matrix.rows, bits)
    return PackedColumns(shape=matrix.shape, starts=matrix.starts, bits=frozen(bits, np.uint8), data=matrix.data)
