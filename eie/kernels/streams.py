"""When things happen in a layer whose weights arrive meanwhile: the recurrences of docs/cycle-model.md, streamed.

The walk of `eie.kernels.timing` with one more maximum: a PE takes an activation no sooner than its column is there.
When that is depends on what was issued, through the two halves of the buffer, so both walk together. Cycles stand here
as they are, in 64 bits, and not as backlogs: how long a PE waits for DRAM is bounded by no queue. A kernel of its own,
so that layers whose weights are in place keep theirs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit
from eie.kernels.timing import PIPELINE_CYCLES, step_rows

# Columns of the integer result that `stream_timing` fills.
BROADCAST_END, LAST_SCAN_ROW, LAST_LANE_HIT, STALL, FREE, ARRIVED, BUS = range(7)


@njit
def mark_blocks(
    columns: NDArray[np.int64],
    pointers: NDArray[np.int32],
    half: int,
    fill: NDArray[np.int64],
    begins: NDArray[np.bool_],
) -> None:
    """Mark the columns that begin a block, of those that arrive in this order.

    A block takes columns until the fullest PE's share of them exceeds ``half`` entries. ``fill`` (L,) is scratch;
    ``begins`` is filled for each of ``columns``.
    """
    fill[:] = 0
    for i in range(columns.shape[0]):
        column = columns[i]
        fullest = np.int64(0)
        for pe in range(fill.shape[0]):
            fill[pe] += np.int64(pointers[column + 1, pe]) - np.int64(pointers[column, pe])
            fullest = max(fullest, fill[pe])
        begins[i] = i == 0 or fullest > half
        if fullest > half:
            # It did not fit behind the others: it is the first of the next half.
            for pe in range(fill.shape[0]):
                fill[pe] = np.int64(pointers[column + 1, pe]) - np.int64(pointers[column, pe])


@njit
def mark_first_uses(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    groups: NDArray[np.int64],
    columns: int,
    seen: NDArray[np.int64],
    comes: NDArray[np.bool_],
    loads: NDArray[np.bool_],
) -> None:
    """Mark what has to be brought where columns stay from one input to the next of its group.

    Parameters
    ----------
    groups
        (N,) the group of each input, ascending.
    seen
        (J + 1,) the last group that used each column, and any; kept from call to call, -1 at first.
    comes
        As long as ``positions``, filled: the first use of a column in its group.
    loads
        (N,) filled: the first input of its group.
    """
    for s in range(groups.shape[0]):
        group = groups[s]
        loads[s] = seen[-1] != group
        seen[-1] = group
        for k in range(starts[s], starts[s + 1]):
            column = min(np.int64(positions[k]), np.int64(columns))
            comes[k] = seen[column] != group
            seen[column] = group


@inlined
def take(
    begin: NDArray[np.int32],
    end: NDArray[np.int32],
    now: Any,
    there: Any,
    ready: NDArray[np.int64],
    load: NDArray[np.int64],
) -> Any:
    """Let every PE take an activation broadcast in cycle ``now``, no sooner than its entries are there.

    ``begin`` and ``end`` (L,) are the pointers between which a PE's entries lie. Returns the cycle in which the last PE
    takes it, and the one from which none of them has anything left to issue; ``ready`` and ``load`` (L,) move on.
    """
    taken: Any = np.int64(0)
    free: Any = np.int64(0)
    for pe in range(ready.shape[0]):
        start: Any = max(ready[pe], now + 1)
        load[pe] += max(there + 1 - start, 0)
        start = max(start, there + 1)
        taken = max(taken, start)
        # A column without entries takes a cycle, too.
        ready[pe] = start + max(np.int64(end[pe]) - np.int64(begin[pe]), 1)
        free = max(free, ready[pe])
    return taken, free


@njit
def stream_timing(
    positions: NDArray[np.int32],
    comes: NDArray[np.bool_],
    arriving: NDArray[np.int64],
    begins: NDArray[np.bool_],
    pointers: NDArray[np.int32],
    transfer: NDArray[np.int64],
    columns: int,
    scan_width: int,
    latency: int,
    whole: bool,
    held: bool,
    ready: NDArray[np.int64],
    ring: NDArray[np.int64],
    load: NDArray[np.int64],
    result: NDArray[np.int64],
    sent: NDArray[np.int64],
    arrivals: NDArray[np.int64],
) -> None:
    """Walk one input through bus, buffer and queues.

    Parameters
    ----------
    positions
        (K,) scan positions of the non-zero activations, ascending; a bias sits at the first position of its own row.
    comes
        (K,) whether its column is among ``arriving``; one that is not is there already.
    arriving, begins
        Columns in their order on the bus, and which of them begin a block.
    pointers
        (J + 1, L) first entry of each column.
    transfer
        (J,) cycles that a column occupies the bus.
    columns
        C, input activations; a position beyond them is the bias, column C.
    scan_width
        P, activations of a scan row; the PEs that ``pointers`` tells apart may be fewer.
    whole
        Whether all columns arrive, and not only those of the non-zero activations: then none waits for the look-ahead
        scanner, and block 0 is there when the layer starts.
    held
        Whether there is room for all that arrives: then no block waits for another to leave.
    ready, ring
        Scratch, (L,) and (act_queue_depth - 1,); zeroed here. ``ready`` is left as it stands after the last broadcast:
        the cycle from which a PE has nothing left to issue.
    load
        (L,) filled: cycles in which a PE had an activation and not its column.
    result
        (7,) filled: W[K-1], its scan row, whether it sat in the last lane, stall cycles, the cycle from which no PE has
        anything left to issue, the one in which the last column has arrived, cycles in which the bus was busy.
    sent, arrivals
        (K,) filled, or of length 0: W[k], and A[k], the cycle in which its column has arrived.
    """
    usable = ring.shape[0]
    ready[:] = 0
    ring[:] = 0
    load[:] = 0
    broadcast: Any = np.int64(1)  # as in `queue_timing`: the first broadcast is W[0] = 2 + d[0]
    dead = np.int64(0)
    row_end = np.int64(scan_width)
    before = np.int64(-1)
    free: Any = np.int64(0)
    arrived: Any = np.int64(0)
    bus = np.int64(0)
    block = np.int64(-1)
    # The cycles from which the block before this one, and the one before that, lie in no PE any more.
    left: Any = np.int64(0)
    left_before: Any = np.int64(0)
    i = np.int64(0)
    # One step more than there are broadcasts: what arrives behind the last active column.
    for k in range(positions.shape[0] + 1):
        last = k == positions.shape[0]
        column = np.int64(-1)
        earliest = broadcast + 1
        if not last:
            position = np.int64(positions[k])
            steps, row_end = step_rows(position, before, row_end, scan_width)
            dead += steps
            earliest += steps
            before = position
            column = min(position, np.int64(columns))
        # A scanner that never stalls has handed out k activations before this one, from cycle 2 on.
        asked: Any = np.int64(1) if whole else 2 + dead + k
        here = not last and not comes[k]
        # Of a column that is there already nobody knows when it came.
        there: Any = np.int64(0)
        while i < arriving.shape[0] and not here:
            if begins[i]:
                block += 1
                left_before = left
                left = free
            cycles = transfer[arriving[i]]
            bus += cycles
            if block > 0 or not whole:
                request = max(asked, left_before) if block >= 2 and not held else asked
                arrived = max(arrived, request + latency - 1) + cycles
            here = arriving[i] == column
            i += 1
        if not last and comes[k]:
            there = arrived
        if last:
            break
        now: Any = max(earliest, ring[k % usable])
        broadcast = now
        if sent.shape[0] > 0:
            sent[k] = now
            arrivals[k] = there
        taken, done = take(pointers[column], pointers[column + 1], now, there, ready, load)
        free = max(free, done)
        # the slot that the slowest PE frees in this cycle can be filled in the next
        ring[k % usable] = taken + 1
    result[BROADCAST_END] = broadcast
    result[LAST_SCAN_ROW] = row_end // scan_width - 1
    result[LAST_LANE_HIT] = before == row_end - 1
    result[STALL] = broadcast - 1 - positions.shape[0] - dead
    result[FREE] = free
    result[ARRIVED] = arrived
    result[BUS] = bus


@njit
def stream_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    comes: NDArray[np.bool_],
    loads: NDArray[np.bool_],
    pointers: NDArray[np.int32],
    transfer: NDArray[np.int64],
    bits: NDArray[np.int64],
    columns: int,
    scan_width: int,
    scan_rows: int,
    act_queue_depth: int,
    half: int,
    latency: int,
    whole: bool,
    held: bool,
    cycles: NDArray[np.int64],
    stall: NDArray[np.int64],
    dead: NDArray[np.int64],
    free: NDArray[np.int64],
    load: NDArray[np.int64],
    bus: NDArray[np.int64],
    dram_bits: NDArray[np.int64],
    sent: NDArray[np.int64],
    arrivals: NDArray[np.int64],
) -> None:
    """Walk every input of a batch; input s owns ``positions[starts[s] : starts[s + 1]]``.

    ``comes`` and ``loads`` are those of `mark_first_uses`: where all columns arrive, they do for the inputs that load.
    ``bits`` (J,) are those of a column's bursts; ``half`` the entries a PE holds in a half of the buffer. The seven
    from ``cycles`` on, (N,) and (N, L), are filled; ``sent`` and ``arrivals`` too, a cycle each of ``positions``,
    unless they have length 0.
    """
    n_pe = pointers.shape[1]
    fill, ready = np.empty(n_pe, np.int64), np.empty(n_pe, np.int64)
    ring = np.empty(act_queue_depth - 1, np.int64)
    result = np.empty(7, np.int64)
    arriving = np.empty(transfer.shape[0], np.int64)
    begins = np.empty(transfer.shape[0], np.bool_)
    count = np.int64(0)
    if whole:
        # The same for every input, so once.
        for j in range(arriving.shape[0]):
            arriving[j] = j
        mark_blocks(arriving, pointers, half, fill, begins)
    for s in range(starts.shape[0] - 1):
        active = positions[starts[s] : starts[s + 1]]
        coming = comes[starts[s] : starts[s + 1]]
        if whole:
            count = np.int64(arriving.shape[0]) if loads[s] else np.int64(0)
        else:
            count = np.int64(0)
            for k in range(active.shape[0]):
                if coming[k]:
                    arriving[count] = min(np.int64(active[k]), np.int64(columns))
                    count += 1
            mark_blocks(arriving[:count], pointers, half, fill, begins)
        stream_timing(
            active,
            coming,
            arriving[:count],
            begins,
            pointers,
            transfer,
            columns,
            scan_width,
            latency,
            whole,
            held,
            ready,
            ring,
            load[s],
            result,
            # Of no length where they are not asked for, and so are their slices.
            sent[starts[s] : starts[s + 1]],
            arrivals[starts[s] : starts[s + 1]],
        )
        scan_end: Any = np.int64(1 + scan_rows)
        if active.shape[0] > 0:
            scan_end = result[BROADCAST_END] + scan_rows - result[LAST_SCAN_ROW] - result[LAST_LANE_HIT]
            cycles[s] = max(scan_end, result[FREE] + PIPELINE_CYCLES)
        else:
            cycles[s] = scan_end
        # Active columns never outlast their layer. All of them can: it is over when the last one is there, and pays
        # with bus cycles of its own for the half that came before it began.
        cycles[s] = max(cycles[s], result[ARRIVED], result[BUS])
        stall[s] = result[STALL]
        dead[s] = scan_end - 1 - active.shape[0] - result[STALL]
        bus[s] = result[BUS]
        for i in range(count):
            dram_bits[s] += bits[arriving[i]]
        for pe in range(n_pe):
            free[s, pe] = ready[pe] if active.shape[0] > 0 else scan_end
