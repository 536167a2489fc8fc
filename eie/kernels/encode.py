"""Relative-indexed columns: counting and writing the entries of every PE.

Row i belongs to PE i mod P as its local row i // P. The callers pass both as tables, so that the loops do not
divide. See docs/cycle-model.md, "Encoding".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import njit


@njit
def count_entries(
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    pe_of: NDArray[np.int32],
    local_of: NDArray[np.int32],
    index_bits: int,
    entries: NDArray[np.int32],
    padding: NDArray[np.int64],
) -> None:
    """Count entries, padding included, per column and PE into ``entries`` (J, P) and padding into ``padding`` (J,)."""
    columns, n_pe = entries.shape
    last = np.empty(n_pe, np.int32)
    for j in range(columns):
        # Just above row 0: zeros before a column's first entry count like those between two.
        last[:] = -1
        for at in range(starts[j], starts[j + 1]):
            pe, local = pe_of[rows[at]], local_of[rows[at]]
            # gap // 2**b: a filler stands for 2**b rows, the 2**b - 1 zeros of its run and the place it takes itself.
            fillers = (local - last[pe] - 1) >> index_bits
            last[pe] = local
            entries[j, pe] += 1 + fillers
            padding[j] += fillers


@njit
def write_entries(
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    codes_in: NDArray[np.uint8],
    pe_of: NDArray[np.int32],
    local_of: NDArray[np.int32],
    index_bits: int,
    cursor: NDArray[np.int64],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
) -> None:
    """Write every PE's entries, column by column, from its place in ``cursor`` (P,), which is consumed."""
    n_pe = cursor.shape[0]
    longest = (1 << index_bits) - 1
    last = np.empty(n_pe, np.int32)
    for j in range(starts.shape[0] - 1):
        last[:] = -1
        for at in range(starts[j], starts[j + 1]):
            pe, local = pe_of[rows[at]], local_of[rows[at]]
            gap = local - last[pe] - 1
            last[pe] = local
            to = cursor[pe]
            for _ in range(gap >> index_bits):
                codes[to] = 0
                runs[to] = longest
                to += 1
            codes[to] = codes_in[at]
            # gap mod 2**b: the fillers before it have bridged the rest.
            runs[to] = gap & longest
            cursor[pe] = to + 1


@njit
def expand_entries(
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    rows_out: NDArray[np.int64],
) -> None:
    """Give each entry its row (out of P interleaved images) in ``rows_out`` (E,); padding gets -1."""
    columns, n_pe = pointers.shape[0] - 1, bases.shape[0] - 1
    for j in range(columns):
        for pe in range(pointers.shape[1]):
            local = np.int64(-1)
            for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                # Widened before the sum: numpy's own uint8 would wrap at a run of 255 where the kernels run uncompiled.
                local += np.int64(runs[at]) + 1
                rows_out[at] = local * n_pe + pe if codes[at] != 0 else -1


@njit
def count_codes(
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    starts: NDArray[np.int64],
) -> Any:
    """Fill ``starts`` (J + 1,) with where each column's entries begin, padding left out; return the most local rows."""
    longest: Any = np.int64(0)
    starts[0] = 0
    for j in range(pointers.shape[0] - 1):
        count = np.int64(0)
        for pe in range(pointers.shape[1]):
            local = np.int64(0)
            for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                local += np.int64(runs[at]) + 1
                count += codes[at] != 0
            longest = max(longest, local)
        starts[j + 1] = starts[j] + count
    return longest


@njit
def gather_codes(
    bases: NDArray[np.int64],
    pointers: NDArray[np.int32],
    codes: NDArray[np.uint8],
    runs: NDArray[np.uint8],
    longest: int,
    starts: NDArray[np.int64],
    rows_out: NDArray[np.int32],
    codes_out: NDArray[np.uint8],
) -> None:
    """Write the rows and codes of all entries but padding, by column and row; the last two (E,), see `count_codes`."""
    n_pe = np.int64(bases.shape[0] - 1)
    # Rows ascend by local row and PE, and PEs are walked in order: it is enough to sort by local row, by counting.
    cursor = np.empty(longest + 1, np.int64)
    for j in range(pointers.shape[0] - 1):
        cursor[:] = 0
        cursor[0] = starts[j]
        for pe in range(pointers.shape[1]):
            local: Any = np.int64(-1)
            for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                local += np.int64(runs[at]) + 1
                cursor[local + 1] += codes[at] != 0
        for row in range(longest):
            cursor[row + 1] += cursor[row]
        for pe in range(pointers.shape[1]):
            local = np.int64(-1)
            for at in range(bases[pe] + pointers[j, pe], bases[pe] + pointers[j + 1, pe]):
                local += np.int64(runs[at]) + 1
                if codes[at] != 0:
                    rows_out[cursor[local]] = local * n_pe + pe
                    codes_out[cursor[local]] = codes[at]
                    cursor[local] += 1


@njit
def mark_rows(
    pointers: NDArray[np.int32], entries_per_row: int, rows: NDArray[np.uint64], totals: NDArray[np.int64]
) -> None:
    """Mark which PEs go on in an SRAM row with a column, and which open one; count the rows that each column touches.

    ``rows`` (J, 2, W), all zero, has a bit a PE, 64 in a word. ``totals`` (J,), over all PEs, is filled.
    """
    for j in range(pointers.shape[0] - 1):
        touched = np.int64(0)
        for pe in range(pointers.shape[1]):
            begin, end = np.int64(pointers[j, pe]), np.int64(pointers[j + 1, pe])
            if begin == end:
                continue
            first, last = begin // entries_per_row, (end - 1) // entries_per_row
            goes_on = begin > first * entries_per_row
            bit = np.uint64(1) << np.uint64(pe % 64)
            if goes_on:
                rows[j, 0, pe // 64] |= bit
            if last > first or not goes_on:
                rows[j, 1, pe // 64] |= bit
            # Every row it touches, the shared first one too: whether that was read already depends on the inputs.
            touched += last - first + 1
        totals[j] = touched
