"""When things happen: the recurrences of docs/cycle-model.md, without a loop over cycles.

One step an activation. Instead of each PE's finish time we keep its *backlog*: how many cycles it still needs,
seen from the cycle after the broadcast. A step lets the time since the last broadcast pass (subtract, not below
zero) and adds the new column's slots. The backlog of a PE is bounded by what fits a queue, so small unsigned
integers hold it, and the loop over PEs runs many lanes wide; the caller picks the number type by that bound.

PEs are padded to whole blocks of `LANES`; padded lanes hold zero slots and never matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit

LANES = 64
PIPELINE_CYCLES = 5

# Columns of the integer result that `queue_timing` fills.
BROADCAST_END, LAST_SCAN_ROW, LAST_LANE_HIT, STALL, LARGEST_BACKLOG = range(5)


@inlined
def _take_block(
    backlog: NDArray[Any], slots: NDArray[Any], state_at: Any, slots_at: Any, elapsed: Any, peak: Any
) -> Any:
    """Let ``elapsed`` cycles pass and add a column's slots, for one block of PEs; return the largest backlog."""
    number = backlog.dtype.type
    for lane in range(np.uint64(64)):
        at = state_at + lane
        held = backlog[at]
        left = number(held - elapsed) if held > elapsed else number(0)
        held = number(left + slots[slots_at + lane])
        backlog[at] = held
        peak = max(peak, held)
    return peak


@njit
def queue_timing(
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    columns: int,
    n_pe: int,
    act_queue_depth: int,
    backlog: NDArray[Any],
    ring: NDArray[np.int64],
    result: NDArray[np.int64],
) -> None:
    """Walk one input through the queues.

    Parameters
    ----------
    positions
        (K,) scan positions of the non-zero activations, ascending; a bias sits at the first position of its own row.
    slots
        (J * B * LANES,) cycles each PE spends on a column, ``max(1, entries)``; uint8, uint16 or int32.
    columns
        C, input activations; a position beyond them is the bias, column C.
    backlog, ring
        Scratch, (B * LANES,) of a type that holds any backlog, and (act_queue_depth - 1,); zeroed here. ``backlog`` is
        left as it stands after the last broadcast: PE p is free in cycle ``result[BROADCAST_END] + 1 + backlog[p]``.
    result
        (5,) filled: W[K-1], its scan row, whether it sat in the last lane, stall cycles, largest backlog.
    """
    number = backlog.dtype.type
    highest = np.int64(np.iinfo(backlog.dtype).max)
    usable = act_queue_depth - 1
    stride = np.uint64(backlog.shape[0])
    backlog[:] = 0
    ring[:] = 0
    broadcast: Any = np.int64(1)
    behind = np.int64(0)
    stall = np.int64(0)
    row_end = np.int64(n_pe)
    last_lane = np.int64(0)
    slot: Any = np.int64(0)
    for k in range(positions.shape[0]):
        position = np.int64(positions[k])
        earliest = broadcast + 1
        if position >= row_end:
            earliest -= last_lane
            while position >= row_end:
                row_end += n_pe
                earliest += 1
        last_lane = np.int64(position == row_end - 1)
        # ring[slot] is the cycle after the one in which the slowest PE took activation k - (Q - 1)
        now: Any = max(earliest, ring[np.uint64(slot)])
        elapsed = now - broadcast
        broadcast = now
        stall += now - earliest
        ring[np.uint64(slot)] = now + 2 + max(behind - elapsed, 0)
        slot = slot + 1 if slot + 1 < usable else 0
        passed = number(min(elapsed, highest))
        column: Any = min(position, columns)
        start = np.uint64(column) * stride
        peak = _take_block(backlog, slots, np.uint64(0), start, passed, number(0))
        for at in range(np.uint64(64), stride, np.uint64(64)):
            peak = _take_block(backlog, slots, at, start + at, passed, peak)
        behind = np.int64(peak)
    result[0] = broadcast
    result[1] = row_end // n_pe - 1
    result[2] = last_lane
    result[3] = stall
    result[4] = behind


@njit
def tally(
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    first_row: NDArray[Any],
    last_row: NDArray[Any],
    columns: int,
    empty: NDArray[np.int32],
    taken: NDArray[np.int32],
    reads: NDArray[np.int32],
    held_row: NDArray[Any],
) -> None:
    """Count, per PE (padded, (S,)): slots taken, how many of them were empty columns, sparse-matrix rows read.

    ``first_row`` and ``last_row`` (J, S) are the SRAM rows of a column's first and last entry; an empty column has
    ``first_row > last_row``. A row is read only when it is not the one this PE read last (``held_row``, scratch).
    """
    stride = empty.shape[0]
    empty[:] = 0
    taken[:] = 0
    reads[:] = 0
    held_row[:] = np.iinfo(held_row.dtype).max
    for k in range(positions.shape[0]):
        column: Any = min(np.int64(positions[k]), columns)
        start = np.uint64(column) * np.uint64(stride)
        for pe in range(np.uint64(stride)):
            at = start + pe
            first, last = first_row[at], last_row[at]
            held = held_row[pe]
            filled = first <= last
            taken[pe] += slots[at]
            empty[pe] += not filled
            reads[pe] += np.int32(last) - np.int32(first) + np.int32(first != held) if filled else np.int32(0)
            held_row[pe] = last if filled else held


@njit
def queue_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    columns: int,
    scan_rows: int,
    n_pe: int,
    act_queue_depth: int,
    scratch: NDArray[Any],
    cycles: NDArray[np.int64],
    stall: NDArray[np.int64],
    dead: NDArray[np.int64],
    free: NDArray[np.int64],
) -> None:
    """Time every input of a batch; input s owns ``positions[starts[s] : starts[s + 1]]``.

    ``cycles, stall, dead`` (N,) are filled, and ``free`` (N, P): the cycle from which a PE has nothing left to issue.
    """
    ring = np.empty(act_queue_depth - 1, np.int64)
    result = np.empty(5, np.int64)
    for s in range(starts.shape[0] - 1):
        active = positions[starts[s] : starts[s + 1]]
        if active.shape[0] == 0:
            cycles[s] = 1 + scan_rows
            stall[s] = 0
            dead[s] = scan_rows
            free[s] = 1 + scan_rows
            continue
        queue_timing(active, slots, columns, n_pe, act_queue_depth, scratch, ring, result)
        broadcast_end = result[BROADCAST_END]
        scan_end = broadcast_end + scan_rows - result[LAST_SCAN_ROW] - result[LAST_LANE_HIT]
        cycles[s] = max(scan_end, broadcast_end + 1 + result[LARGEST_BACKLOG] + PIPELINE_CYCLES)
        stall[s] = result[STALL]
        # every cycle of the scanner broadcasts, stalls or is dead; it starts in cycle 1
        dead[s] = scan_end - 1 - active.shape[0] - result[STALL]
        for pe in range(n_pe):
            free[s, pe] = broadcast_end + 1 + np.int64(scratch[pe])


@njit
def tally_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    first_row: NDArray[Any],
    last_row: NDArray[Any],
    columns: int,
    n_pe: int,
    held_row: NDArray[Any],
    reads: NDArray[np.int64],
    issue: NDArray[np.int64],
    empty: NDArray[np.int64],
) -> None:
    """Count what does not depend on the queues, for every input of a batch.

    ``reads`` (N,) and ``issue, empty`` (N, P) are filled.
    """
    stride = held_row.shape[0]
    pe_empty = np.empty(stride, np.int32)
    pe_taken = np.empty(stride, np.int32)
    pe_reads = np.empty(stride, np.int32)
    for s in range(starts.shape[0] - 1):
        active = positions[starts[s] : starts[s + 1]]
        tally(active, slots, first_row, last_row, columns, pe_empty, pe_taken, pe_reads, held_row)
        reads[s] = pe_reads[:n_pe].sum()
        for pe in range(n_pe):
            issue[s, pe] = pe_taken[pe] - pe_empty[pe]
            empty[s, pe] = pe_empty[pe]
