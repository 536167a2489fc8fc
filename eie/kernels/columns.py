"""Dense row-major arrays into compressed sparse columns, in two passes over the dense data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def count_nonzeros(dense: NDArray[Any], counts: NDArray[np.int64]) -> bool:
    """Add the non-zeros of each column of ``dense`` (R, C) to ``counts`` (C,); False if a value is not finite."""
    rows, columns = dense.shape
    finite = True
    for i in range(rows):
        for j in range(columns):
            value = dense[i, j]
            # Added always: whether a weight is zero is random, and a branch on it would be guessed wrong.
            counts[j] += value != 0
            # Infinity and NaN minus themselves are NaN, which equals nothing; codes, being integers, pass.
            finite &= value - value == 0
    return finite


@njit
def fill_columns(
    dense: NDArray[Any], first: int, cursor: NDArray[np.int64], rows_out: NDArray[np.int32], data: NDArray[Any]
) -> None:
    """Write row numbers, which begin at ``first``, and values column by column.

    ``cursor`` (C,) holds the place of each column's next value and is moved on.
    """
    rows, columns = dense.shape
    # Row by row, as the array lies in memory: it is the large one, so the places written to are what jumps.
    for i in range(rows):
        for j in range(columns):
            value = dense[i, j]
            if value != 0:
                at = cursor[j]
                rows_out[at] = first + i
                data[at] = value
                cursor[j] = at + 1


@njit
def fill_noted(
    dense: NDArray[Any], first: int, cursor: NDArray[np.int64], bits: NDArray[np.uint8], data: NDArray[Any]
) -> None:
    """Write values column by column as `fill_columns`, and set a bit of ``bits`` (C, ceil(R / 8)) for each row."""
    rows, columns = dense.shape
    for i in range(rows):
        byte, bit = (first + i) >> 3, np.uint8(1 << ((first + i) & 7))
        for j in range(columns):
            value = dense[i, j]
            if value != 0:
                at = cursor[j]
                data[at] = value
                bits[j, byte] |= bit
                cursor[j] = at + 1


@njit
def note_rows(starts: NDArray[np.int64], rows: NDArray[np.int32], bits: NDArray[np.uint8]) -> None:
    """Set a bit of ``bits`` (C, ceil(R / 8)), all zero, for every row that a column of compressed ones lists."""
    for j in range(bits.shape[0]):
        for k in range(starts[j], starts[j + 1]):
            bits[j, rows[k] >> 3] |= np.uint8(1 << (rows[k] & 7))


@njit
def list_rows(bits: NDArray[np.uint8], rows_out: NDArray[np.int32]) -> None:
    """Write the rows whose bits are set, column by column, to ``rows_out``, which has one place more than there are."""
    at = np.int64(0)
    for j in range(bits.shape[0]):
        for byte in range(bits.shape[1]):
            noted = bits[j, byte]
            if noted == 0:
                # Between the groups of a convolution all are.
                continue
            for k in range(8):
                # Written always and moved on where the bit is set: a branch on it would be guessed wrong. Behind the
                # last row that writes once more, hence the place.
                rows_out[at] = 8 * byte + k
                at += np.int64((noted >> k) & 1)


@njit
def order_entries(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    height: int,
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
) -> None:
    """Order entries (E,) by column, and by row within one: by counting, since comparing takes ten times as long.

    ``starts`` (C + 1,), all zero, gets where each column begins, ``order`` (E,) which entry comes where.
    """
    count = rows.shape[0]
    by_row, cursor = np.empty(count, np.int64), np.zeros(height + 1, np.int64)
    for k in range(count):
        cursor[rows[k] + 1] += 1
        starts[columns[k] + 1] += 1
    for row in range(height):
        cursor[row + 1] += cursor[row]
    for k in range(count):
        by_row[cursor[rows[k]]] = k
        cursor[rows[k]] += 1
    for column in range(starts.shape[0] - 1):
        starts[column + 1] += starts[column]
    into = starts.copy()
    for at in range(count):
        column = columns[by_row[at]]
        order[into[column]] = by_row[at]
        into[column] += 1
