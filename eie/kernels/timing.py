"""When things happen: the recurrences of docs/cycle-model.md, without a loop over cycles.

One step an activation. Instead of each PE's finish time we keep its *backlog*: how many cycles it still needs,
seen from the cycle after the broadcast. A step lets the time since the last broadcast pass (subtract, not below
zero) and adds the new column's slots. The backlog of a PE is bounded by what fits a queue, so small unsigned
integers hold it, and the loop over PEs runs many lanes wide; the caller picks the number type by that bound.

PEs are padded to `padded` lanes; those added hold zero slots and never matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit

LANES = 64
PIPELINE_CYCLES = 5


def padded(n_pe: int) -> int:
    """S: the lanes that ``n_pe`` PEs take, 64 or a multiple of 128."""
    return 64 if n_pe <= 64 else -(-n_pe // 128) * 128


# Columns of the integer result that `queue_timing` fills.
BROADCAST_END, LAST_SCAN_ROW, LAST_LANE_HIT, STALL, LARGEST_BACKLOG = range(5)


@inlined
def _take_block(
    backlog: NDArray[Any], slots: NDArray[Any], state_at: Any, slots_at: Any, elapsed: Any, peak: Any, lanes: Any
) -> Any:
    """Let ``elapsed`` cycles pass and add a column's slots, for one block of PEs; return the largest backlog."""
    number = backlog.dtype.type
    for lane in range(lanes):
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
        (J * S,) cycles each PE spends on a column, ``max(1, entries)``; uint8, uint16 or int32.
    columns
        C, input activations; a position beyond them is the bias, column C.
    backlog, ring
        Scratch, (S,) of a type that holds any backlog, and (act_queue_depth - 1,); zeroed here. ``backlog`` is
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
    busy_until = np.int64(1)
    dead = np.int64(0)
    row_end = np.int64(n_pe)
    before = np.int64(-1)
    slot: Any = np.int64(0)
    for k in range(positions.shape[0]):
        position = np.int64(positions[k])
        earliest = broadcast + 1
        if position >= row_end:
            # a dead cycle for each row stepped over, less one if the last activation sat in its row's last lane
            steps = np.int64(before != row_end - 1)
            row_end += n_pe
            while position >= row_end:
                row_end += n_pe
                steps += 1
            dead += steps
            earliest += steps
        before = position
        # ring[slot] is the cycle after the one in which the slowest PE took activation k - (Q - 1)
        now: Any = max(earliest, ring[np.uint64(slot)])
        elapsed = now - broadcast
        broadcast = now
        ring[np.uint64(slot)] = max(busy_until, now) + 2
        slot = slot + 1 if slot + 1 < usable else 0
        passed = number(min(elapsed, highest))
        column: Any = min(position, columns)
        start = np.uint64(column) * stride
        peak = number(0)
        # a constant number of lanes, as many as there are, is what the compiler turns into plain vector code
        if stride == 64:
            peak = _take_block(backlog, slots, np.uint64(0), start, passed, peak, np.uint64(64))
        else:
            for at in range(np.uint64(0), stride, np.uint64(128)):
                peak = _take_block(backlog, slots, at, start + at, passed, peak, np.uint64(128))
        busy_until = now + np.int64(peak)
    result[BROADCAST_END] = broadcast
    result[LAST_SCAN_ROW] = row_end // n_pe - 1
    result[LAST_LANE_HIT] = before == row_end - 1
    result[STALL] = broadcast - 1 - positions.shape[0] - dead
    result[LARGEST_BACKLOG] = busy_until - broadcast


@inlined
def _scan_end(scan_rows: int, result: NDArray[np.int64]) -> Any:
    """Cycle in which the scanner has passed the last row."""
    return result[BROADCAST_END] + scan_rows - result[LAST_SCAN_ROW] - result[LAST_LANE_HIT]


@inlined
def _tally_block(table: NDArray[Any], table_at: Any, state: NDArray[Any], state_at: Any) -> None:
    """Count one column in one block of PEs; the layouts are those of `tally`."""
    number = state.dtype.type
    nowhere = number(np.iinfo(state.dtype).max)
    for lane in range(np.uint64(64)):
        slots = table[table_at + lane]
        first = table[table_at + np.uint64(64) + lane]
        last = table[table_at + np.uint64(128) + lane]
        held = state[state_at + lane]
        taken = state_at + np.uint64(64) + lane
        empty = state_at + np.uint64(128) + lane
        reused = state_at + np.uint64(192) + lane
        state[state_at + lane] = max(held, last)
        state[taken] = number(state[taken] + slots)
        state[empty] = number(state[empty] + (first == nowhere))
        state[reused] = number(state[reused] + (first == held))


@njit
def tally(
    positions: NDArray[np.int32], table: NDArray[Any], columns: int, state: NDArray[Any], totals: NDArray[np.int64]
) -> None:
    """Count per PE: slots taken, how many of them were empty columns, and SRAM rows found already read.

    Parameters
    ----------
    table
        (J * B * 3 * LANES,), for each column and block: slots, first SRAM row, last SRAM row. Rows count from 1. A PE
        reads rows in ascending order, so the one it holds is the largest so far. An empty column has no first row (the
        type's largest number) and last row 0. uint16 where slots are below 256, else int64.
    state
        Scratch of the same type, (B * 4 * LANES,): row held, and the three counts of the current stretch.
    totals
        (B * 3 * LANES,) filled: taken, empty, reused.
    """
    blocks = np.uint64(state.shape[0] // 256)
    state[:] = 0
    totals[:] = 0
    done = np.int64(0)
    while done < positions.shape[0]:
        # 256 columns of at most 255 slots fit 16 bits; then the counts move to the totals
        stop = min(done + 256, positions.shape[0])
        for k in range(done, stop):
            column: Any = min(np.int64(positions[k]), columns)
            at = np.uint64(column) * blocks
            for block in range(blocks):
                _tally_block(table, (at + block) * np.uint64(192), state, block * np.uint64(256))
        for block in range(blocks):
            for lane in range(np.uint64(192)):
                count = block * np.uint64(256) + np.uint64(64) + lane
                totals[block * np.uint64(192) + lane] += np.int64(state[count])
                state[count] = 0
        done = stop


@njit
def queue_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    columns: int,
    scan_rows: int,
    n_pe: int,
    act_queue_depth: int,
    backlog: NDArray[Any],
    cycles: NDArray[np.int64],
    stall: NDArray[np.int64],
    dead: NDArray[np.int64],
    free: NDArray[np.int64],
) -> None:
    """Walk every input of a batch through the queues; input s owns ``positions[starts[s] : starts[s + 1]]``.

    ``backlog`` is scratch of `queue_timing`. ``cycles, stall, dead`` (N,) are filled, and ``free`` (N, P): the cycle
    from which a PE has nothing left to issue.
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
        queue_timing(active, slots, columns, n_pe, act_queue_depth, backlog, ring, result)
        broadcast_end = result[BROADCAST_END]
        scan_end = _scan_end(scan_rows, result)
        cycles[s] = max(scan_end, broadcast_end + 1 + result[LARGEST_BACKLOG] + PIPELINE_CYCLES)
        stall[s] = result[STALL]
        # every cycle of the scanner broadcasts, stalls or is dead; it starts in cycle 1
        dead[s] = scan_end - 1 - active.shape[0] - result[STALL]
        for pe in range(n_pe):
            free[s, pe] = broadcast_end + 1 + np.int64(backlog[pe])


@njit
def tally_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    table: NDArray[Any],
    column_totals: NDArray[np.int64],
    columns: int,
    n_pe: int,
    state: NDArray[Any],
    reads: NDArray[np.int64],
    entries: NDArray[np.int64],
    padding: NDArray[np.int64],
    issue: NDArray[np.int64],
    empty: NDArray[np.int64],
) -> None:
    """Count, for every input of a batch, what no queue changes.

    ``column_totals`` (J, 3) holds each column's entries, padding entries and SRAM rows over all PEs. ``state`` is
    scratch of `tally`. The last five, (N,) and (N, P), are filled.
    """
    totals = np.empty(state.shape[0] // 4 * 3, np.int64)
    for s in range(starts.shape[0] - 1):
        active = positions[starts[s] : starts[s + 1]]
        tally(active, table, columns, state, totals)
        all_entries = np.int64(0)
        all_padding = np.int64(0)
        all_rows = np.int64(0)
        for k in range(active.shape[0]):
            least: Any = min(np.int64(active[k]), columns)
            column = np.uint64(least)
            all_entries += column_totals[column, 0]
            all_padding += column_totals[column, 1]
            all_rows += column_totals[column, 2]
        entries[s] = all_entries
        padding[s] = all_padding
        reads[s] = all_rows
        for pe in range(n_pe):
            at = pe // 64 * 192 + pe % 64
            issue[s, pe] = totals[at] - totals[at + 64]
            empty[s, pe] = totals[at + 64]
            reads[s] -= totals[at + 128]
