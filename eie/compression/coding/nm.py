"""N:M sparse matrices as values and indices: 2:4 is what sparse tensor cores read.

Comes in: a matrix with at most N non-zeros in every M along a row. Goes out: an `NmMatrix`, N values a group and for
each its position in the group, ceil(log2 M) bits (2 bits for 2:4). A group with fewer non-zeros stores zeros at its
first free positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compression.coding import bits
from eie.errors import ModelError
from eie.model.matrix import frozen


@dataclass(frozen=True, eq=False, kw_only=True)
class NmMatrix:
    """A compressed matrix.

    Attributes
    ----------
    n, m
        Values stored of every ``m``.
    shape
        (rows, columns) of the dense matrix; the last group of a row may be shorter than ``m``.
    values
        (rows, groups, n), in column order within a group.
    indices
        Packed positions, one a value, ``index_bits`` each.
    """

    n: int
    m: int
    shape: tuple[int, int]
    values: NDArray[Any]
    indices: bytes

    @property
    def index_bits(self) -> int:
        """Bits of one position."""
        return index_bits(self.m)

    def nbytes(self, value_bits: int | None = None) -> int:
        """Bytes of values (``value_bits`` each; by default as they are held) and indices."""
        # Rounded up as a whole, not row by row: values and indices are two streams without gaps.
        bits_each = self.values.itemsize * 8 if value_bits is None else value_bits
        return -(-self.values.size * bits_each // 8) + len(self.indices)


def index_bits(m: int) -> int:
    """Bits that tell ``m`` positions apart."""
    # Positions go from 0 to m - 1, so M = 1 takes no bits: there is nothing to tell.
    return (m - 1).bit_length()


def encode(matrix: NDArray[Any], n: int, m: int) -> NmMatrix:
    """Compress a dense matrix (rows, columns) of any number type.

    Raises
    ------
    ModelError
        If a group holds more than ``n`` non-zeros; the first such group is named.

    Examples
    --------
    >>> row = np.array([[0.8, 0.0, 0.9, 0.0, 0.0, 0.7, 0.0, 0.6]])
    >>> packed = encode(row, 2, 4)
    >>> packed.values.ravel().tolist(), bits.unpack(packed.indices, 2, 4).tolist()
    ([0.8, 0.9, 0.7, 0.6], [0, 2, 1, 3])
    """
    if not 1 <= n <= m <= 65536:
        raise ModelError(f"{n}:{m}: must be N:M with 1 <= N <= M <= 65536")
    rows, columns = matrix.shape
    groups = -(-columns // m)
    # Filled up with zeros: the last group of a row may be short, and is then like any other.
    dense = np.zeros((rows, groups * m), matrix.dtype)
    dense[:, :columns] = matrix
    dense = dense.reshape(rows, groups, m)
    used = dense != 0
    left = n - used.sum(axis=2)
    crowded = np.argwhere(left < 0)
    if len(crowded):
        row, group = map(int, crowded[0])
        raise ModelError(
            f"row {row}, columns {group * m} to {min(group * m + m, columns) - 1}: "
            f"{int(used[row, group].sum())} non-zeros: {n}:{m} allows {n} (prune with granularity {n}:{m} first)"
        )
    # The non-zeros and the first free positions, n of each group, ascending. Sorting groups took twice as long.
    stored = used | (np.cumsum(~used, axis=2) <= left[:, :, None])
    chosen = (np.flatnonzero(stored) % m).reshape(rows, groups, n)
    values = np.take_along_axis(dense, chosen, axis=2)
    return NmMatrix(
        n=n, m=m, shape=(rows, columns), values=frozen(values, values.dtype), indices=bits.pack(chosen, index_bits(m))
    )


def decode(packed: NmMatrix) -> NDArray[Any]:
    """Return the dense matrix.

    Raises
    ------
    ModelError
        If positions and values do not belong together, or a position lies outside its group.
    """
    rows, columns = packed.shape
    groups = -(-columns // packed.m)
    if packed.values.shape != (rows, groups, packed.n):
        raise ModelError(
            f"{packed.n}:{packed.m} values have shape {packed.values.shape}: not {(rows, groups, packed.n)}"
        )
    chosen = bits.unpack(packed.indices, packed.index_bits, packed.values.size).reshape(packed.values.shape)
    # Widened to a signed type: uint16 differences would wrap, and a descending pair look like an ascending one.
    if chosen.size and (chosen.max() >= packed.m or (np.diff(chosen.astype(np.int32), axis=2) <= 0).any()):
        raise ModelError(f"{packed.n}:{packed.m} indices: must ascend within a group and lie below {packed.m}")
    dense = np.zeros((rows, groups, packed.m), packed.values.dtype)
    np.put_along_axis(dense, chosen.astype(np.int64), packed.values, axis=2)
    flat = dense.reshape(rows, groups * packed.m)
    # Positions behind the row's end are there for the last group's zeros; a value there has lost its place.
    if flat[:, columns:].any():
        raise ModelError(f"{packed.n}:{packed.m} indices: a value lies beyond column {columns - 1}")
    return flat[:, :columns]
