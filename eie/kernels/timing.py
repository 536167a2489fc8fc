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
# Loading scan row 0, the queue and the pointer read come before the first slot; the pipeline drains behind the last.
FILL_CYCLES = 3
PIPELINE_CYCLES = 5
STRETCH = 255  # columns that `tally` counts in narrow numbers before it adds them up


def padded(n_pe: int) -> int:
    """S: the lanes that ``n_pe`` PEs take, 64 or a multiple of 128."""
    # Backlogs take 1, 2 or 8 bytes: 128 lanes fill whole vector registers at each, and no loop is left with a rest.
    return 64 if n_pe <= 64 else -(-n_pe // 128) * 128


# Columns of the integer result that `queue_timing` fills.
BROADCAST_END, LAST_SCAN_ROW, LAST_LANE_HIT, STALL, LARGEST_BACKLOG = range(5)


@njit
def list_positions(
    bits: NDArray[np.uint8],
    first: int,
    inputs: int,
    bias_position: int,
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
) -> None:
    """List the scan positions of the set bits among ``inputs`` of every row from column ``first`` on.

    ``bias_position`` is added to each row unless negative. ``starts`` (N + 1,) begins with 0 and is filled, and so is
    the front of ``positions``, which has room for every input and one more.
    """
    at = np.int64(0)
    for s in range(bits.shape[0]):
        for j in range(inputs):
            column = first + j
            # written always and kept by counting: a branch on a random bit is guessed wrong half of the time
            positions[at] = j
            # Bit 7 of a byte is its first column: masks are packed most significant bit first, as numpy does.
            at += (np.int64(bits[s, column >> 3]) >> (7 - (column & 7))) & 1
        if bias_position >= 0:
            positions[at] = bias_position
            at += 1
        starts[s + 1] = at


@inlined
def _pass_and_add(backlog: NDArray[Any], slots: NDArray[Any], start: Any, elapsed: Any, lanes: Any) -> Any:
    """Let ``elapsed`` cycles pass and add a column's slots in every PE; return the largest backlog."""
    # Every result is cast back: numba widens each sum to 64 bits, and then a register holds 4 lanes where it could 32.
    number = backlog.dtype.type
    peak = number(0)
    for lane in range(lanes):
        waiting = backlog[lane]
        left = number(waiting - elapsed) if waiting > elapsed else number(0)
        waiting = number(left + slots[start + lane])
        backlog[lane] = waiting
        peak = max(peak, waiting)
    return peak


@njit
def queue_timing(
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    columns: int,
    n_pe: int,
    act_queue_depth: int,
    highest: int,
    backlog: NDArray[Any],
    ring: NDArray[np.int64],
    result: NDArray[np.int64],
    sent: NDArray[np.int64] | None = None,
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
    highest
        The largest number of the type of ``backlog``.
    backlog, ring
        Scratch, (S,) of a type that holds any backlog, and (act_queue_depth - 1,); zeroed here. ``backlog`` is
        left as it stands after the last broadcast: PE p is free in cycle ``result[BROADCAST_END] + 1 + backlog[p]``.
    result
        (5,) filled: W[K-1], its scan row, whether it sat in the last lane, stall cycles, largest backlog.
    sent
        (K,) filled where it is asked for: W[k], the cycle of each broadcast.
    """
    number = backlog.dtype.type
    usable = act_queue_depth - 1
    # Unsigned like all that indexes here, or each access would first ask whether it counts from the end.
    stride = np.uint64(backlog.shape[0])
    backlog[:] = 0
    ring[:] = 0
    # As if something had gone out in cycle 1, when row 0 is loaded: the first broadcast is then W[0] = 2 + d[0].
    broadcast: Any = np.int64(1)
    busy_until = np.int64(1)
    dead = np.int64(0)
    row_end = np.int64(n_pe)
    # In no row's last lane: empty rows before the first non-zero cost a cycle each, the first step is never free.
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
        if sent is not None:
            sent[k] = now
        # The slowest PE takes k in cycle max(busy_until, now) + 1; its slot can be filled in the one after, hence 2.
        ring[np.uint64(slot)] = max(busy_until, now) + 2
        slot = slot + 1 if slot + 1 < usable else 0
        # Clipped before it is narrowed: after 256 idle cycles a uint8 would see none pass.
        passed = number(min(elapsed, highest))
        # The bias sits in a scan row of its own, beyond the last column, but its entries are column C.
        column: Any = min(position, columns)
        start = np.uint64(column) * stride
        if stride == LANES:
            # a constant number of lanes becomes straight vector code, two thirds of the time of a counted loop
            peak = _pass_and_add(backlog, slots, start, passed, np.uint64(LANES))
        else:
            # One loop over all lanes gathers the largest backlog once a column. Blocks of 128 did so in each: at 1024
            # PEs that took 1.7 times as long.
            peak = _pass_and_add(backlog, slots, start, passed, stride)
        busy_until = now + np.int64(peak)
    result[BROADCAST_END] = broadcast
    result[LAST_SCAN_ROW] = row_end // n_pe - 1
    result[LAST_LANE_HIT] = before == row_end - 1
    # Of the cycles 2 to W[K-1] each one broadcasts, is dead, or has stalled.
    result[STALL] = broadcast - 1 - positions.shape[0] - dead
    result[LARGEST_BACKLOG] = busy_until - broadcast


@inlined
def _scan_end(scan_rows: int, result: NDArray[np.int64]) -> Any:
    """Cycle in which the scanner has passed the last row."""
    return result[BROADCAST_END] + scan_rows - result[LAST_SCAN_ROW] - result[LAST_LANE_HIT]


@inlined
def _age_block(
    lookbacks: NDArray[Any], table_at: Any, state: NDArray[Any], at: Any, room: Any, gap: Any, nowhere: Any
) -> None:
    """Look one column up in one block of PEs; ``state`` is that of `tally`. ``room + gap`` is ``nowhere``."""
    number = state.dtype.type
    for lane in range(np.uint64(LANES)):
        lookback = lookbacks[table_at + lane]
        read = at + np.uint64(LANES) + lane
        empty = at + np.uint64(2 * LANES) + lane
        # An age that would pass the largest number stays there: one saturating addition, 32 PEs at once.
        age = number(min(state[at + lane], room) + gap)
        is_empty = lookback == nowhere
        state[at + lane] = age if is_empty else number(0)
        state[read] = number(state[read] + (age <= lookback))
        state[empty] = number(state[empty] + is_empty)


@inlined
def _take_slots(slots: NDArray[Any], slots_at: Any, taken: NDArray[Any], at: Any) -> None:
    """Add one column's slots in one block of PEs. In a loop of its own: its lanes are wider than those of the ages."""
    number = taken.dtype.type
    for lane in range(np.uint64(LANES)):
        taken[at + lane] = number(taken[at + lane] + slots[slots_at + lane])


@njit
def tally(
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    lookbacks: NDArray[Any],
    columns: int,
    nowhere: int,
    state: NDArray[Any],
    taken: NDArray[Any],
    totals: NDArray[np.int64],
) -> None:
    """Count per PE: slots taken, how many of them were empty columns, and SRAM rows found already read.

    A PE reads rows in ascending order, so the row that a column begins in has been read if a column broadcast before
    had an entry in it: if the PE's last column with entries, its *age* ago, is no further back than the lookback. The
    lookback of an empty column is the largest number there is, so empty columns count as found too, and are taken off.

    Parameters
    ----------
    slots
        (J * S,) as of `queue_timing`.
    lookbacks
        (J * S,) uint8 or int32, see `RowTable`.
    nowhere
        The largest number of that type.
    state
        Scratch of the same type, (B * 3 * LANES,), for each block of PEs: age, rows found, empty columns.
    taken
        Scratch (S,), slots taken: uint16 where slots are uint8, else int64.
    totals
        (B * 3 * LANES,) filled: taken, empty, found.
    """
    number = state.dtype.type
    blocks = np.uint64(taken.shape[0] // LANES)
    width, triple = np.uint64(LANES), np.uint64(3 * LANES)
    state[:] = 0
    for block in range(blocks):
        for lane in range(width):
            # As old as can be: no column with entries has gone out yet, so no lookback reaches one.
            state[block * triple + lane] = number(nowhere)
    taken[:] = 0
    totals[:] = 0
    # Even column 0 is as far from this as a number can say: the first gap is the largest there is.
    before = -nowhere
    done = np.int64(0)
    while done < positions.shape[0]:
        # 255 columns of at most 255 slots fit 16 bits, and their number fits 8; then the counts move to the totals
        stop = min(done + STRETCH, positions.shape[0])
        for k in range(done, stop):
            column: Any = min(np.int64(positions[k]), columns)
            gap = min(column - before, nowhere)
            before = column
            start = np.uint64(column) * blocks * width
            for block in range(blocks):
                at = start + block * width
                _age_block(lookbacks, at, state, block * triple, number(nowhere - gap), number(gap), number(nowhere))
                _take_slots(slots, at, taken, block * width)
        for block in range(blocks):
            for lane in range(width):
                to = block * triple + lane
                rows_read, empty = state[to + width], state[to + width + width]
                totals[to] += np.int64(taken[block * width + lane])
                totals[to + width] += np.int64(empty)
                totals[to + width + width] += np.int64(rows_read) - np.int64(empty)
                taken[block * width + lane] = 0
                state[to + width] = 0
                state[to + width + width] = 0
        done = stop


@njit
def repeats(starts: NDArray[np.int64], positions: NDArray[np.int32], s: int) -> bool:
    """Whether input ``s`` has the activations of the one before: windows of a map without zeros are all alike."""
    if s == 0:
        return False
    first, before = starts[s], starts[s - 1]
    if starts[s + 1] - first != first - before:
        return False
    # Spelt out: a kernel has no generators.
    for k in range(first - before):  # noqa: SIM110
        if positions[first + k] != positions[before + k]:
            return False
    return True


@njit
def queue_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    columns: int,
    scan_rows: int,
    n_pe: int,
    act_queue_depth: int,
    highest: int,
    backlog: NDArray[Any],
    cycles: NDArray[np.int64],
    stall: NDArray[np.int64],
    dead: NDArray[np.int64],
    free: NDArray[np.int64],
    sent: NDArray[np.int64] | None = None,
) -> None:
    """Walk every input of a batch through the queues; input s owns ``positions[starts[s] : starts[s + 1]]``.

    ``highest`` and the scratch ``backlog`` are those of `queue_timing`. ``cycles, stall, dead`` (N,) are filled, and
    ``free`` (N, L): the cycle from which a PE has nothing left to issue, for those that are told apart; where it is
    asked for, ``sent``, a cycle each of ``positions``.
    """
    ring = np.empty(act_queue_depth - 1, np.int64)
    result = np.empty(5, np.int64)
    for s in range(starts.shape[0] - 1):
        active = positions[starts[s] : starts[s + 1]]
        if active.shape[0] == 0:
            # Nothing goes out: row 0 is loaded in cycle 1 and each row takes one dead cycle; no pipeline to drain.
            cycles[s] = 1 + scan_rows
            stall[s] = 0
            dead[s] = scan_rows
            free[s] = 1 + scan_rows
            continue
        if repeats(starts, positions, s):
            cycles[s], stall[s], dead[s] = cycles[s - 1], stall[s - 1], dead[s - 1]
            free[s] = free[s - 1]
            if sent is not None:
                sent[starts[s] : starts[s + 1]] = sent[starts[s - 1] : starts[s]]
            continue
        if sent is None:
            # Not handed on: a kernel of its own for those who ask, and the same as ever for those who do not.
            queue_timing(active, slots, columns, n_pe, act_queue_depth, highest, backlog, ring, result)
        else:
            own = sent[starts[s] : starts[s + 1]]
            queue_timing(active, slots, columns, n_pe, act_queue_depth, highest, backlog, ring, result, own)
        broadcast_end = result[BROADCAST_END]
        scan_end = _scan_end(scan_rows, result)
        # Whichever is last: rows of zeros at the end can outlast the pipeline.
        cycles[s] = max(scan_end, broadcast_end + 1 + result[LARGEST_BACKLOG] + PIPELINE_CYCLES)
        stall[s] = result[STALL]
        # every cycle of the scanner broadcasts, stalls or is dead; it starts in cycle 1
        dead[s] = scan_end - 1 - active.shape[0] - result[STALL]
        for pe in range(free.shape[1]):
            free[s, pe] = broadcast_end + 1 + np.int64(backlog[pe])


@njit
def tally_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    slots: NDArray[Any],
    lookbacks: NDArray[Any],
    column_totals: NDArray[np.int64],
    columns: int,
    nowhere: int,
    state: NDArray[Any],
    taken: NDArray[Any],
    reads: NDArray[np.int64],
    entries: NDArray[np.int64],
    padding: NDArray[np.int64],
    issue: NDArray[np.int64],
    empty: NDArray[np.int64],
) -> None:
    """Count, for every input of a batch, what no queue changes.

    ``column_totals`` (J, 3) holds each column's entries, padding entries and SRAM rows over all PEs. ``nowhere`` and
    the scratch ``state, taken`` are those of `tally`. The last five, (N,) and (N, L), are filled.
    """
    totals = np.empty(state.shape[0], np.int64)
    for s in range(starts.shape[0] - 1):
        if repeats(starts, positions, s):
            reads[s], entries[s], padding[s] = reads[s - 1], entries[s - 1], padding[s - 1]
            issue[s], empty[s] = issue[s - 1], empty[s - 1]
            continue
        active = positions[starts[s] : starts[s + 1]]
        tally(active, slots, lookbacks, columns, nowhere, state, taken, totals)
        all_entries = np.int64(0)
        all_padding = np.int64(0)
        all_rows = np.int64(0)
        for k in range(active.shape[0]):
            # The bias is column C, wherever its scan row lies.
            least: Any = min(np.int64(active[k]), columns)
            column = np.uint64(least)
            all_entries += column_totals[column, 0]
            all_padding += column_totals[column, 1]
            all_rows += column_totals[column, 2]
        entries[s] = all_entries
        padding[s] = all_padding
        reads[s] = all_rows
        for pe in range(issue.shape[1]):
            # Totals lie in blocks of 64 PEs: their slots, then their empty columns, then their rows found.
            at = pe // LANES * (3 * LANES) + pe % LANES
            # An empty column takes a slot, too, but issues no entry.
            issue[s, pe] = totals[at] - totals[at + LANES]
            empty[s, pe] = totals[at + LANES]
            # Until here each column counted all rows it touches, as if none had been read by the column before.
            reads[s] -= totals[at + 2 * LANES]
