"""When things happen where each activation is broadcast once: docs/cycle-model.md, "Scatter".

The recurrences of `eie.kernels.timing` and `eie.kernels.streams`; what differs is what a broadcast takes: the entries
from the first pointer of a range to its end, and not those of one column. So the table of slots has the ranges that
occur and not the columns. What no queue changes is in `eie.kernels.scatter_tallies`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit
from eie.kernels.streams import take
from eie.kernels.timing import PIPELINE_CYCLES, step_rows

# The largest numbers of the types that backlogs are walked in.
NARROW, WIDE = 0xFFFF, 0x7FFFFFFFFFFFFFFF


@njit
def list_broadcasts(
    bits: NDArray[np.uint8],
    window: NDArray[np.int64],
    tap: NDArray[np.int64],
    first: NDArray[np.int64],
    stop: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    weights_before: NDArray[np.int64],
    channels: int,
    taps: int,
    columns: int,
    lanes: int,
    positions: NDArray[np.int32],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
) -> Any:
    """List the non-zero activations of the pixels that a strip visits.

    Returns how many there are, and how many weights they meet whose outputs would lie outside the map.

    Parameters
    ----------
    bits
        (windows, bytes) masks of one sample's windows, as unrolled by im2col: channels, then places of the kernel.
    window, tap, first, stop
        (pixels,) where each pixel is found in them, and its columns in channel 0.
    low, high
        (pixels,) the kernel rows of its phase whose outputs lie in the map.
    weights_before
        (columns + 1, depth): weights in the columns before each, over all PEs, by row of the phase.
    columns
        Of one channel.
    lanes
        Scan positions of a pixel: its channels, filled up to whole scan rows.
    positions, begins, ends
        The front is filled: scan positions, and the range of columns that each takes.
    """
    at, outside = np.int64(0), np.int64(0)
    depth = weights_before.shape[1]
    for pixel in range(window.shape[0]):
        row, offset = window[pixel], tap[pixel]
        begin, end, base = first[pixel], stop[pixel], pixel * lanes
        edge = low[pixel] > 0 or high[pixel] < depth
        for channel in range(channels):
            column = channel * taps + offset
            # Written always and kept by counting, as in `list_positions`.
            positions[at] = base + channel
            begins[at] = channel * columns + begin
            ends[at] = channel * columns + end
            active = (np.int64(bits[row, column >> 3]) >> (7 - (column & 7))) & 1
            if edge:
                for up in range(depth):
                    if up < low[pixel] or up >= high[pixel]:
                        met = weights_before[ends[at], up] - weights_before[begins[at], up]
                        outside += active * met
            at += active
    return at, outside


@inlined
def row_steps(position: Any, before: Any, n_pe: Any) -> Any:
    """Dead cycles of the scanner from one position to the next; ``before`` is -1 ahead of the first."""
    if before < 0:
        return position // n_pe
    rows = position // n_pe - before // n_pe
    # From the last lane the step to the next row is free.
    return rows - (1 if rows > 0 and before % n_pe == n_pe - 1 else 0)


@inlined
def _scanned(broadcast: Any, before: Any, scan_rows: Any, n_pe: Any) -> Any:
    """Cycle in which the scanner has passed the last row."""
    return broadcast + scan_rows - before // n_pe - (1 if before % n_pe == n_pe - 1 else 0)


@njit
def list_ranges(
    begins: NDArray[np.int32], ends: NDArray[np.int32], columns: int, which: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return the ranges that occur, (ranges, 2), in order of appearance; ``which`` (broadcasts,) has each one's place.

    There are few ranges and many broadcasts of each, so what a range alone decides is worked out once. ``columns`` is
    the largest border that there can be.
    """
    widths = np.int64(1)
    for k in range(begins.shape[0]):
        widths = max(widths, np.int64(ends[k] - begins[k]) + 1)
    # A range is its first column times ``widths`` plus how many columns it has.
    place = np.full((columns + 1) * widths, -1, np.int32)
    ranges = np.empty((min(place.shape[0], begins.shape[0]), 2), np.int64)
    count = np.int32(0)
    for k in range(begins.shape[0]):
        own = np.uint64(np.int64(begins[k]) * widths + np.int64(ends[k] - begins[k]))
        if place[own] < 0:
            ranges[count] = begins[k], ends[k]
            place[own] = count
            count += np.int32(1)
        which[k] = place[own]
    return ranges[:count]


@njit
def range_queues(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    which: NDArray[np.int32],
    ranges: NDArray[np.int64],
    scan_rows: NDArray[np.int64],
    pointers: NDArray[np.int32],
    act_queue_depth: int,
    cycles: NDArray[np.int64],
    stall: NDArray[np.int64],
    dead: NDArray[np.int64],
    free: NDArray[np.int64],
    sent: NDArray[np.int64],
) -> None:
    """Walk every strip through the queues; strip s owns ``positions[starts[s] : starts[s + 1]]``.

    ``which`` and ``ranges`` are those of `list_ranges`, ``pointers`` (J + 1, P), ``scan_rows`` (N,) of each strip. The
    four from ``cycles`` on, (N,) and (N, P), are filled, as by `eie.kernels.timing.queue_samples`; ``sent`` too, the
    cycle of each broadcast, unless it has length 0.
    """
    n_pe = pointers.shape[1]
    slots = np.empty((ranges.shape[0], n_pe), np.int32)
    largest = np.int64(1)
    for at in range(ranges.shape[0]):
        for pe in range(n_pe):
            slot = max(pointers[ranges[at, 1], pe] - pointers[ranges[at, 0], pe], 1)
            slots[at, pe] = slot
            largest = max(largest, slot)
    pattern, counts = (starts, positions, which, scan_rows), (cycles, stall, dead, free, sent)
    # A backlog is at most the slots of what a queue holds, see `eie.simulator.fast.backlog_type`.
    if largest * act_queue_depth <= NARROW:
        _walk(pattern, slots.astype(np.uint16).reshape(-1), np.empty(n_pe, np.uint16), NARROW, act_queue_depth, counts)
    else:
        _walk(pattern, slots.astype(np.int64).reshape(-1), np.empty(n_pe, np.int64), WIDE, act_queue_depth, counts)


@njit
def _walk(
    pattern: Any, slots: NDArray[Any], backlog: NDArray[Any], longest: int, act_queue_depth: int, counts: Any
) -> None:
    """Walk strips; ``slots`` of each range by PE, and a scratch ``backlog`` of their type, whose end is ``longest``."""
    starts, positions, which, scan_rows = pattern
    cycles, stall, dead, free, sent = counts
    n_pe, usable = np.int64(backlog.shape[0]), act_queue_depth - 1
    ring = np.empty(usable, np.int64)
    for s in range(starts.shape[0] - 1):
        ring[:] = 0
        backlog[:] = 0
        broadcast: Any = np.int64(1)
        before: Any = np.int64(-1)
        row_end: Any = n_pe
        busy_until: Any = np.int64(1)
        gone: Any = np.int64(0)
        slot = 0
        for k in range(starts[s], starts[s + 1]):
            position = np.int64(positions[k])
            steps, row_end = step_rows(position, before, row_end, n_pe)
            before = position
            gone += steps
            now: Any = max(broadcast + 1 + steps, ring[np.uint64(slot)])
            elapsed = now - broadcast
            broadcast = now
            if sent.shape[0] > 0:
                sent[k] = now
            ring[np.uint64(slot)] = max(busy_until, now) + 2
            slot = slot + 1 if slot + 1 < usable else 0
            # What is longer than any backlog empties all queues, however long it is.
            busy_until = now + _pass_and_add(backlog, slots, which[k], min(elapsed, longest))
        count = starts[s + 1] - starts[s]
        if count == 0:
            # Nothing goes out: row 0 is loaded in cycle 1 and each row takes one dead cycle.
            cycles[s] = 1 + scan_rows[s]
            stall[s] = 0
            dead[s] = scan_rows[s]
            free[s] = 1 + scan_rows[s]
            continue
        scan_end = _scanned(broadcast, before, scan_rows[s], n_pe)
        cycles[s] = max(scan_end, busy_until + 1 + PIPELINE_CYCLES)
        stall[s] = broadcast - 1 - count - gone
        dead[s] = scan_end - 1 - count - stall[s]
        for pe in range(n_pe):
            free[s, pe] = broadcast + 1 + np.int64(backlog[pe])


@inlined
def _pass_and_add(backlog: NDArray[Any], slots: NDArray[Any], own: Any, elapsed: Any) -> Any:
    """Let cycles pass in every PE and add a range; return the largest backlog."""
    # Cast back, or numba widens each sum to 64 bits and a register holds 8 lanes where it could 32. Unsigned, or each
    # access would first ask whether it counts from the end.
    number, lanes = backlog.dtype.type, np.uint64(backlog.shape[0])
    start = np.uint64(own) * lanes
    passed, peak = number(elapsed), number(0)
    for pe in range(lanes):
        waiting = backlog[pe]
        left = number(waiting - passed) if waiting > passed else number(0)
        waiting = number(left + slots[start + pe])
        peak = max(peak, waiting)
        backlog[pe] = waiting
    return np.int64(peak)


@njit
def range_streams(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    scan_rows: NDArray[np.int64],
    pointers: NDArray[np.int32],
    act_queue_depth: int,
    turns: NDArray[np.int64],
    seen: NDArray[np.int64],
    transfer: NDArray[np.int64],
    bits: NDArray[np.int64],
    latency: int,
    early: int,
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
    """Walk every strip through bus and queues, where weights come once a turn and stay to its end.

    Parameters
    ----------
    turns
        (N,) the turn of each strip, ascending.
    seen
        (J + 1,) the last turn for which each column came, and any; kept from call to call, -1 at first.
    transfer, bits
        (J,) of each column on the bus.
    early
        Columns that are there when a turn begins, where all of them come; -1 where those of non-zero activations do.
    load
        (N, P) filled, as the next two: cycles in which a PE had an activation and not its columns.
    sent, arrivals
        As long as ``positions``, filled, or of length 0: when each was broadcast, and its columns were there.
    """
    n_pe, usable = np.int64(pointers.shape[1]), act_queue_depth - 1
    ring, ready = np.empty(usable, np.int64), np.empty(n_pe, np.int64)
    columns = transfer.shape[0]
    arrival = np.zeros(columns, np.int64)
    for s in range(starts.shape[0] - 1):
        turn, arrived = turns[s], np.int64(0)
        arrival[:] = 0
        if early >= 0 and seen[columns] != turn:
            for j in range(columns):
                if j >= early:
                    arrived = max(arrived, latency) + transfer[j]
                    arrival[j] = arrived
                seen[j] = turn
                bus[s] += transfer[j]
                dram_bits[s] += bits[j]
        seen[columns] = turn
        ring[:] = 0
        ready[:] = 0
        broadcast: Any = np.int64(1)
        before: Any = np.int64(-1)
        gone: Any = np.int64(0)
        last: Any = np.int64(0)
        slot = 0
        for k in range(starts[s], starts[s + 1]):
            position = np.int64(positions[k])
            steps = row_steps(position, before, n_pe)
            before = position
            gone += steps
            # A scanner that never stalls has handed out those before it, from cycle 2 on.
            asked = 2 + gone + k - starts[s]
            there: Any = np.int64(0)
            for j in range(begins[k], ends[k]):
                if seen[j] != turn:
                    seen[j] = turn
                    arrived = max(arrived, asked + latency - 1) + transfer[j]
                    arrival[j] = arrived
                    bus[s] += transfer[j]
                    dram_bits[s] += bits[j]
                there = max(there, arrival[j])
            now: Any = max(broadcast + 1 + steps, ring[slot])
            broadcast = now
            if sent.shape[0] > 0:
                sent[k] = now
                arrivals[k] = there
            taken, done = take(pointers[begins[k]], pointers[ends[k]], now, there, ready, load[s])
            last = max(last, done)
            ring[slot] = taken + 1
            slot = slot + 1 if slot + 1 < usable else 0
        count = starts[s + 1] - starts[s]
        scan_end: Any = 1 + scan_rows[s]
        if count > 0:
            scan_end = _scanned(broadcast, before, scan_rows[s], n_pe)
            stall[s] = broadcast - 1 - count - gone
        dead[s] = scan_end - 1 - count - stall[s]
        # All columns can outlast their strip: it is over when the last is there, and pays for what came before it.
        cycles[s] = max(scan_end, last + PIPELINE_CYCLES if count > 0 else 0, arrived, bus[s] if early >= 0 else 0)
        for pe in range(n_pe):
            free[s, pe] = ready[pe] if count > 0 else scan_end
