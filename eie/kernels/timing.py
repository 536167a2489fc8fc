"""When things happen: the recurrences of docs/cycle-model.md, without a loop over cycles.

One step an activation. Instead of each PE's finish time we keep its *backlog*: how many cycles it still needs,
seen from the cycle after the broadcast. A step lets the time since the last broadcast pass (subtract, not below
zero) and adds the new column's slots. The backlog of a PE is bounded by what fits a queue, so small unsigned
integers hold it, and the loop over PEs runs many lanes wide; the caller picks the number type by that bound.

PEs are padded to `padded` lanes. Those added hold no entries, so they issue a bubble a column, as every PE does at
least: their backlog is never the largest. Tables (`eie.model.matrix.aligned`) and scratch begin a cache line: rows that
lie across two lines took a third longer.
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


def padded(n_pe: int) -> int:
    """S: the lanes that ``n_pe`` PEs take, 64 or a multiple of 128."""
    # Backlogs take 1, 2 or 8 bytes: 128 lanes fill whole vector registers at each, and no loop is left with a rest.
    return 64 if n_pe <= 64 else -(-n_pe // 128) * 128


@inlined
def on_a_line(room: NDArray[Any]) -> Any:
    """Return the part of ``room``, `LANES` numbers shorter, that begins a cache line of 64 bytes."""
    # Here and not where room is made: asking numpy for an address takes as long as counting a small layer.
    start = (64 - room.ctypes.data % 64) % 64 // room.itemsize
    return room[start : start + room.shape[0] - LANES]


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
    at = np.uint64(0)
    # Whole bytes, each loaded once, a third of the time; blocks of columns that begin within one go bit by bit.
    whole = inputs >> 3 if first & 7 == 0 else 0
    for s in range(bits.shape[0]):
        for i in range(whole):
            byte = np.uint64(bits[s, (first >> 3) + i])
            for bit in range(8):
                # written always and kept by counting: a branch on a random bit is guessed wrong half of the time
                positions[at] = 8 * i + bit
                # Bit 7 of a byte is its first column: masks are packed most significant bit first, as numpy does.
                at += (byte >> np.uint64(7 - bit)) & np.uint64(1)
        for j in range(8 * whole, inputs):
            column = first + j
            positions[at] = j
            at += (np.uint64(bits[s, column >> 3]) >> np.uint64(7 - (column & 7))) & np.uint64(1)
        if bias_position >= 0:
            positions[at] = bias_position
            at += np.uint64(1)
        starts[s + 1] = at


@inlined
def place_of(position: Any, columns: Any, width: Any) -> Any:
    """Return where the column of a scan position lies in a table of so many numbers each."""
    # The bias sits in a scan row of its own, beyond the last column, but its entries are column C.
    return np.uint64(min(position, columns)) * width


@inlined
def _fill(backlog: NDArray[Any], counts: NDArray[Any], start: Any) -> Any:
    """Put a column where nothing waits; return the largest backlog."""
    number = backlog.dtype.type
    peak = number(0)
    for lane in range(np.uint64(backlog.shape[0])):
        waiting = number(max(counts[start + lane], 1))
        backlog[lane] = waiting
        peak = max(peak, waiting)
    return peak


@inlined
def _pass_and_add(
    backlog: NDArray[Any], counts: NDArray[Any], start: Any, elapsed: Any, then: Any, later: Any, lanes: Any
) -> tuple[Any, Any]:
    """Twice let cycles pass and add a column in every PE; return the largest backlog after each.

    First ``elapsed`` cycles and the column at ``start``, then ``later`` cycles and the one at ``then``.
    """
    # Every result is cast back: numba widens each sum to 64 bits, and then a register holds 4 lanes where it could 32.
    number = backlog.dtype.type
    first_peak, peak = number(0), number(0)
    for lane in range(lanes):
        waiting = backlog[lane]
        left = number(waiting - elapsed) if waiting > elapsed else number(0)
        # a column without entries takes a cycle, too
        waiting = number(left + max(counts[start + lane], number(1)))
        first_peak = max(first_peak, waiting)
        left = number(waiting - later) if waiting > later else number(0)
        waiting = number(left + max(counts[then + lane], number(1)))
        peak = max(peak, waiting)
        backlog[lane] = waiting
    return first_peak, peak


@inlined
def step_rows(position: Any, before: Any, row_end: Any, n_pe: Any) -> tuple[Any, Any]:
    """Dead cycles of the scanner from one position to the next, and where the row of that one ends.

    As `eie.kernels.scatter.row_steps`, which divides; ``row_end`` is that of ``before``.
    """
    # Numbers only: numba counts references of arrays that are handed to a leaf with branches, a locked addition each.
    steps = np.int64(0)
    if position >= row_end:
        # a dead cycle for each row stepped over, less one if the last activation sat in its row's last lane
        steps = np.int64(before != row_end - 1)
        row_end += n_pe
        while position >= row_end:
            row_end += n_pe
            steps += 1
    return steps, row_end


@inlined
def _send(position: Any, before: Any, row_end: Any, n_pe: Any, broadcast: Any, free: Any) -> tuple[Any, Any, Any]:
    """Return when an activation is broadcast, the dead cycles before it, and where its scan row ends.

    ``free``: the first cycle in which all queues have room.
    """
    steps, row_end = step_rows(position, before, row_end, n_pe)
    return max(broadcast + 1 + steps, free), steps, row_end


@njit
def queue_timing(
    positions: NDArray[np.int32],
    counts: NDArray[Any],
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
    counts
        (J * S,) entries of each PE in a column, which takes it a cycle each and at least one; uint8 or int32.
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
    ring[:] = 0
    # As if something had gone out in cycle 1, when row 0 is loaded: the first broadcast is then W[0] = 2 + d[0].
    broadcast: Any = np.int64(1)
    busy_until: Any = np.int64(1)
    dead = np.int64(0)
    row_end: Any = np.int64(n_pe)
    # In no row's last lane: empty rows before the first non-zero cost a cycle each, the first step is never free.
    before = np.int64(-1)
    slot: Any = np.int64(0)
    count = positions.shape[0]
    odd = count % 2
    if odd:
        # Columns go two a turn; an odd one is the first, which finds all queues empty.
        before = np.int64(positions[0])
        broadcast, dead, row_end = _send(before, np.int64(-1), row_end, n_pe, broadcast, np.int64(0))
        ring[0] = broadcast + 2
        slot = 1 if usable > 1 else 0
        busy_until = broadcast + np.int64(_fill(backlog, counts, place_of(before, columns, stride)))
        if sent is not None:
            sent[0] = broadcast
    else:
        backlog[:] = 0
    # Two columns a turn: backlogs are loaded and stored half as often. The second broadcast of a turn waits for no peak
    # of the same turn, however short the queues.
    for k in range(odd, count, 2):
        first, second = np.int64(positions[k]), np.int64(positions[k + 1])
        # ring[slot] is the cycle after the one in which the slowest PE took activation k - (Q - 1)
        now, steps, row_end = _send(first, before, row_end, n_pe, broadcast, ring[np.uint64(slot)])
        # The slowest PE takes k in cycle max(busy_until, now) + 1; its slot can be filled in the one after, hence 2.
        ring[np.uint64(slot)] = max(busy_until, now) + 2
        slot = slot + 1 if slot + 1 < usable else 0
        then, more, row_end = _send(second, first, row_end, n_pe, now, ring[np.uint64(slot)])
        dead += steps + more
        # Clipped before it is narrowed: after 256 idle cycles a uint8 would see none pass.
        passed, later = number(min(now - broadcast, highest)), number(min(then - now, highest))
        start, last = place_of(first, columns, stride), place_of(second, columns, stride)
        # A constant number of lanes becomes straight vector code: two thirds of the time of a counted loop up to 128,
        # nine tenths at 256, no gain beyond. One loop over all lanes gathers the largest backlog once a column. Blocks
        # of 128 did so in each: at 1024 PEs that took 1.7 times as long.
        if stride == LANES:
            peaks = _pass_and_add(backlog, counts, start, passed, last, later, np.uint64(LANES))
        elif stride == 2 * LANES:
            peaks = _pass_and_add(backlog, counts, start, passed, last, later, np.uint64(2 * LANES))
        elif stride == 4 * LANES:
            peaks = _pass_and_add(backlog, counts, start, passed, last, later, np.uint64(4 * LANES))
        else:
            peaks = _pass_and_add(backlog, counts, start, passed, last, later, stride)
        ring[np.uint64(slot)] = max(now + np.int64(peaks[0]), then) + 2
        slot = slot + 1 if slot + 1 < usable else 0
        busy_until = then + np.int64(peaks[1])
        broadcast, before = then, second
        if sent is not None:
            sent[k] = now
            sent[k + 1] = then
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
    counts: NDArray[Any],
    columns: int,
    scan_rows: int,
    n_pe: int,
    told: int,
    act_queue_depth: int,
    highest: int,
    room: NDArray[Any],
    cycles: NDArray[np.int64],
    stall: NDArray[np.int64],
    dead: NDArray[np.int64],
    free: NDArray[np.int64],
    sent: NDArray[np.int64] | None = None,
) -> None:
    """Walk every input of a batch through the queues; input s owns ``positions[starts[s] : starts[s + 1]]``.

    Of the ``told`` PEs that are told apart the last stands for those behind it. ``highest`` is that of `queue_timing`,
    ``room`` scratch for its backlog, (S + LANES,). ``cycles, stall, dead`` (N,) are filled, and ``free`` (N, P): the
    cycle from which a PE has nothing left to issue; where it is asked for, ``sent``, a cycle each of ``positions``.
    """
    backlog = on_a_line(room)
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
            queue_timing(active, counts, columns, n_pe, act_queue_depth, highest, backlog, ring, result)
        else:
            own = sent[starts[s] : starts[s + 1]]
            queue_timing(active, counts, columns, n_pe, act_queue_depth, highest, backlog, ring, result, own)
        broadcast_end = result[BROADCAST_END]
        scan_end = _scan_end(scan_rows, result)
        # Whichever is last: rows of zeros at the end can outlast the pipeline.
        cycles[s] = max(scan_end, broadcast_end + 1 + result[LARGEST_BACKLOG] + PIPELINE_CYCLES)
        stall[s] = result[STALL]
        # every cycle of the scanner broadcasts, stalls or is dead; it starts in cycle 1
        dead[s] = scan_end - 1 - active.shape[0] - result[STALL]
        for pe in range(told):
            free[s, pe] = broadcast_end + 1 + np.int64(backlog[pe])
        free[s, told:] = free[s, told - 1]
