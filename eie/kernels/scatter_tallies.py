"""What no queue changes, where each activation is broadcast once: the counts of strips, as `eie.kernels.tallies`.

A broadcast takes a range of columns, and PEs read their entries in any order, from pixel to pixel anew: so the SRAM row
that each holds is followed as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit

SHORT = 0x7FFF  # the largest number of the type that SRAM rows are walked in, where it numbers them all


@njit
def range_tallies(
    starts: NDArray[np.int64],
    which: NDArray[np.int32],
    ranges: NDArray[np.int64],
    pointers: NDArray[np.int32],
    entries_per_row: int,
    padding_before: NDArray[np.int64],
    reads: NDArray[np.int64],
    entries: NDArray[np.int64],
    padding: NDArray[np.int64],
    issue: NDArray[np.int64],
    empty: NDArray[np.int64],
) -> None:
    """Count, for every strip, what no queue changes.

    All that a range has whatever went before it is counted once and multiplied. What is left for every broadcast is
    whether a PE holds the SRAM row that its entries begin in.

    Parameters
    ----------
    which, ranges
        As `eie.kernels.scatter.list_ranges` has them.
    padding_before
        (J + 1,) padding entries of the columns before each, over all PEs.
    reads, entries, padding, issue, empty
        (N,) and (N, P), filled.
    """
    known, n_pe = ranges.shape[0], pointers.shape[1]
    # Of the first and the last entry of each range, by PE, the SRAM row; -1 where it has none, as the range behind them
    # all, which goes with one that is left over.
    first, last = np.full((known + 1, n_pe), -1, np.int32), np.full((known + 1, n_pe), -1, np.int32)
    for at in range(known):
        for pe in range(n_pe):
            begin, end = pointers[ranges[at, 0], pe], pointers[ranges[at, 1], pe]
            if end > begin:
                first[at, pe], last[at, pe] = begin // entries_per_row, (end - 1) // entries_per_row
    # Pointers rise with the columns.
    if pointers[-1].max() // entries_per_row <= SHORT:
        short_first, short_last = first.astype(np.int16).reshape(-1), last.astype(np.int16).reshape(-1)
        _open_rows(starts, which, short_first, short_last, np.empty((2, n_pe), np.int16), reads)
    else:
        _open_rows(starts, which, first.reshape(-1), last.reshape(-1), np.empty((2, n_pe), np.int32), reads)
    uses = np.empty(known, np.int64)
    for s in range(starts.shape[0] - 1):
        uses[:] = 0
        for k in range(starts[s], starts[s + 1]):
            uses[np.uint64(which[k])] += 1
        for at in range(known):
            count = uses[at]
            if count == 0:
                continue
            low, high = ranges[at, 0], ranges[at, 1]
            padding[s] += count * (padding_before[high] - padding_before[low])
            read = np.int64(0)
            for pe in range(n_pe):
                own = np.int64(pointers[high, pe] - pointers[low, pe])
                issue[s, pe] += count * own
                empty[s, pe] += count * (own == 0)
                read += np.int64(last[at, pe] - first[at, pe])
            reads[s] += count * read
        for pe in range(n_pe):
            entries[s] += issue[s, pe]


@njit
def _open_rows(
    starts: NDArray[np.int64],
    which: NDArray[np.int32],
    first: NDArray[Any],
    last: NDArray[Any],
    room: NDArray[Any],
    reads: NDArray[np.int64],
) -> None:
    """Count into ``reads`` (N,) how often a PE does not hold the row that its entries begin in; ``room`` (2, P)."""
    held, fresh = room[0], room[1]
    nothing = first.shape[0] // held.shape[0] - 1
    for s in range(starts.shape[0] - 1):
        held[:] = -1
        reads[s] = 0
        # So many at a time that 16 bits count them.
        for start in range(starts[s], starts[s + 1], SHORT - 1):
            stop = min(start + SHORT - 1, starts[s + 1])
            fresh[:] = 0
            # Two a turn: what is held and counted is loaded and stored half as often.
            for k in range(start, stop, 2):
                _take_rows(first, last, (which[k], which[k + 1] if k + 1 < stop else nothing), held, fresh)
            for pe in range(fresh.shape[0]):
                reads[s] += np.int64(fresh[pe])


@inlined
def _take_rows(first: NDArray[Any], last: NDArray[Any], own: Any, held: NDArray[Any], fresh: NDArray[Any]) -> None:
    """Let every PE read two ranges: it opens the first row of each unless it holds it, and then holds the last."""
    number, lanes = held.dtype.type, np.uint64(held.shape[0])
    start, then = np.uint64(own[0]) * lanes, np.uint64(own[1]) * lanes
    for pe in range(lanes):
        row, kept = first[start + pe], held[pe]
        opened = number(0) if row < 0 else number(row != kept)
        # Without entries a PE goes on holding what it did.
        kept = kept if row < 0 else last[start + pe]
        row = first[then + pe]
        fresh[pe] = number(fresh[pe] + opened + (number(0) if row < 0 else number(row != kept)))
        held[pe] = kept if row < 0 else last[then + pe]
