"""What no queue changes: entries, padding, empty columns and SRAM rows read, added up over the active columns.

Comes in: scan positions of `eie.kernels.timing.list_positions` and tables of a program. Goes out: counts of every
input, by PE or over all. A sweep over queue depths makes them once.

PEs lie in lanes as in `eie.kernels.timing`; those added hold nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit, ones
from eie.kernels.timing import LANES, on_a_line, place_of, repeats


@inlined
def _add_four(
    sums: NDArray[Any], counts: NDArray[Any], first: Any, second: Any, third: Any, fourth: Any, lanes: Any
) -> None:
    """Add four columns in every PE, `sums` as of `sum_columns`: one load and one store of them instead of four."""
    number = sums.dtype.type
    for lane in range(lanes):
        a, b, c, d = counts[first + lane], counts[second + lane], counts[third + lane], counts[fourth + lane]
        sums[lane] = number(sums[lane] + number(number(a + b) + number(c + d)))
        empty = number(number(number(a == 0) + number(b == 0)) + number(number(c == 0) + number(d == 0)))
        sums[lanes + lane] = number(sums[lanes + lane] + empty)


@inlined
def _add_column(sums: NDArray[Any], counts: NDArray[Any], start: Any, lanes: Any) -> None:
    number = sums.dtype.type
    for lane in range(lanes):
        here = counts[start + lane]
        sums[lane] = number(sums[lane] + here)
        sums[lanes + lane] = number(sums[lanes + lane] + number(here == 0))


@njit
def sum_columns(
    positions: NDArray[np.int32],
    counts: NDArray[Any],
    columns: int,
    told: int,
    stretch: int,
    sums: NDArray[Any],
    issue: NDArray[np.int64],
    empty: NDArray[np.int64],
) -> None:
    """Count per PE the entries of the active columns, and how many of these are empty.

    Parameters
    ----------
    counts
        (J * S,) as of `queue_timing`.
    told
        PEs that are told apart; the last stands for those behind it.
    stretch
        Columns whose entries in a PE, and whose number, fit the type of ``counts``.
    sums
        Scratch of the same type, (2 * S,): entries, empty columns.
    issue, empty
        (P,) filled.
    """
    lanes = np.uint64(sums.shape[0] // 2)
    issue[:] = 0
    empty[:] = 0
    done = np.int64(0)
    while done < positions.shape[0]:
        stop = min(done + stretch, positions.shape[0])
        sums[:] = 0
        k = done
        while k + 4 <= stop:
            first, second = place_of(positions[k], columns, lanes), place_of(positions[k + 1], columns, lanes)
            third, fourth = place_of(positions[k + 2], columns, lanes), place_of(positions[k + 3], columns, lanes)
            if lanes == LANES:
                _add_four(sums, counts, first, second, third, fourth, np.uint64(LANES))
            else:
                _add_four(sums, counts, first, second, third, fourth, lanes)
            k += 4
        while k < stop:
            _add_column(sums, counts, place_of(positions[k], columns, lanes), lanes)
            k += 1
        for pe in range(told):
            issue[pe] += np.int64(sums[np.uint64(pe)])
            empty[pe] += np.int64(sums[lanes + np.uint64(pe)])
        done = stop
    issue[told:], empty[told:] = issue[told - 1], empty[told - 1]


@inlined
def _pass_by(read: NDArray[np.uint64], rows: NDArray[np.uint64], at: Any, words: Any) -> None:
    """Step over a column: where it opens rows, the one that it leaves open has not been read."""
    for word in range(words):
        read[word] &= ~rows[at + words + word]


@inlined
def _read(read: NDArray[np.uint64], rows: NDArray[np.uint64], at: Any, again: NDArray[np.uint64], words: Any) -> None:
    """Read a column: count where its first row has been read, and note where its last one is read now."""
    for word in range(words):
        goes_on = rows[at + word]
        again[word] += ones(read[word] & goes_on)
        read[word] |= goes_on | rows[at + words + word]


@inlined
def _walk_rows(
    positions: NDArray[np.int32],
    rows: NDArray[np.uint64],
    columns: int,
    read: NDArray[np.uint64],
    again: NDArray[np.uint64],
    words: Any,
) -> None:
    place = np.uint64(0)
    for k in range(positions.shape[0]):
        column = place_of(positions[k], columns, np.uint64(1))
        while place < column:
            _pass_by(read, rows, (place + place) * words, words)
            place += np.uint64(1)
        _read(read, rows, (place + place) * words, again, words)
        place += np.uint64(1)


@njit
def rows_again(
    positions: NDArray[np.int32],
    rows: NDArray[np.uint64],
    columns: int,
    read: NDArray[np.uint64],
    again: NDArray[np.uint64],
) -> np.int64:
    """Count SRAM rows, over all PEs, that an active column begins in and that one before it has read.

    A PE's rows run on from column to column, so all that there is to know of its past is a bit: whether the row that
    its last entry sits in, active or not, has been read. 64 PEs are a word.

    Parameters
    ----------
    rows
        (J * 2 * W,) as of `RowTable`, W words: in which PEs a column goes on in a row, in which it opens one.
    read, again
        Scratch, (W,).
    """
    words = np.uint64(read.shape[0])
    read[:] = 0
    again[:] = 0
    if words == 1:
        # straight code for the paper's machine, half of the time, as in `queue_timing`
        _walk_rows(positions, rows, columns, read, again, np.uint64(1))
    else:
        _walk_rows(positions, rows, columns, read, again, words)
    total = np.int64(0)
    for word in range(words):
        total += np.int64(again[word])
    return total


@njit
def tally_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    counts: NDArray[Any],
    rows: NDArray[np.uint64],
    column_totals: NDArray[np.int64],
    columns: int,
    told: int,
    stretch: int,
    room: NDArray[Any],
    reads: NDArray[np.int64],
    entries: NDArray[np.int64],
    padding: NDArray[np.int64],
    issue: NDArray[np.int64],
    empty: NDArray[np.int64],
) -> None:
    """Count, for every input of a batch, what no queue changes.

    ``rows`` are those of `rows_again`; ``column_totals`` (J, 2) holds each column's padding entries and SRAM rows over
    all PEs; ``told`` and ``stretch`` are those of `sum_columns`, ``room`` scratch for its sums, (2 * S + LANES,). The
    last five, (N,) and (N, P), are filled.
    """
    sums = on_a_line(room)
    words = sums.shape[0] // (2 * LANES)
    read, again = np.empty(words, np.uint64), np.empty(words, np.uint64)
    for s in range(starts.shape[0] - 1):
        if repeats(starts, positions, s):
            reads[s], entries[s], padding[s] = reads[s - 1], entries[s - 1], padding[s - 1]
            issue[s], empty[s] = issue[s - 1], empty[s - 1]
            continue
        active = positions[starts[s] : starts[s + 1]]
        sum_columns(active, counts, columns, told, stretch, sums, issue[s], empty[s])
        entries[s] = 0
        for pe in range(told):
            entries[s] += issue[s, pe]
        all_padding = np.int64(0)
        all_rows = np.int64(0)
        for k in range(active.shape[0]):
            column = place_of(active[k], columns, np.uint64(1))
            all_padding += column_totals[column, 0]
            all_rows += column_totals[column, 1]
        padding[s] = all_padding
        # Each column counts all rows it touches, as if none had been read by the column before.
        reads[s] = all_rows - rows_again(active, rows, columns, read, again)
