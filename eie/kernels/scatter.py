"""When things happen where each activation is broadcast once: docs/cycle-model.md, "Scatter".

The recurrences of `eie.kernels.timing` and `eie.kernels.streams`; what differs is what a broadcast takes: the entries
from the first pointer of a range to its end, and not those of one column. So a table of slots a column does not do, and
the entries are differences of pointers. PEs read their entries in any order, from pixel to pixel anew, so the SRAM row
that each holds is kept as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit
from eie.kernels.streams import take
from eie.kernels.timing import PIPELINE_CYCLES


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
def range_queues(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
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

    ``pointers`` (J + 1, P); ``scan_rows`` (N,) of each strip. The four from ``cycles`` on, (N,) and (N, P), are filled,
    as by `eie.kernels.timing.queue_samples`; ``sent`` too, the cycle of each broadcast, unless it has length 0.
    """
    n_pe, usable = np.int64(pointers.shape[1]), act_queue_depth - 1
    ring, backlog = np.empty(usable, np.int64), np.empty(n_pe, np.int64)
    for s in range(starts.shape[0] - 1):
        ring[:] = 0
        backlog[:] = 0
        broadcast: Any = np.int64(1)
        before: Any = np.int64(-1)
        busy_until: Any = np.int64(1)
        gone: Any = np.int64(0)
        slot = 0
        for k in range(starts[s], starts[s + 1]):
            position = np.int64(positions[k])
            steps = row_steps(position, before, n_pe)
            before = position
            gone += steps
            now: Any = max(broadcast + 1 + steps, ring[slot])
            elapsed = now - broadcast
            broadcast = now
            if sent.shape[0] > 0:
                sent[k] = now
            ring[slot] = max(busy_until, now) + 2
            slot = slot + 1 if slot + 1 < usable else 0
            begin, end = pointers[begins[k]], pointers[ends[k]]
            peak: Any = np.int64(0)
            for pe in range(n_pe):
                left = max(backlog[pe] - elapsed, 0) + max(np.int64(end[pe]) - np.int64(begin[pe]), 1)
                backlog[pe] = left
                peak = max(peak, left)
            busy_until = now + peak
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
            free[s, pe] = broadcast + 1 + backlog[pe]


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


@njit
def range_tallies(
    starts: NDArray[np.int64],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
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

    There are few ranges and many broadcasts of each, so all that a range has whatever went before it is counted once
    and multiplied. What is left for every broadcast is whether a PE holds the SRAM row that its entries begin in.

    Parameters
    ----------
    padding_before
        (J + 1,) padding entries of the columns before each, over all PEs.
    reads, entries, padding, issue, empty
        (N,) and (N, P), filled.
    """
    n_pe, widths = np.int64(pointers.shape[1]), np.int64(1)
    for k in range(starts[0], starts[-1]):
        widths = max(widths, np.int64(ends[k]) - np.int64(begins[k]) + 1)
    # A range is its first column times ``widths`` plus how many columns it has; listed in order of appearance.
    place = np.full(pointers.shape[0] * widths, -1, np.int64)
    listed = np.empty(place.shape[0], np.int64)
    known = np.int64(0)
    for k in range(starts[0], starts[-1]):
        own = np.int64(begins[k]) * widths + np.int64(ends[k]) - np.int64(begins[k])
        if place[own] < 0:
            place[own], listed[known] = known, own
            known += 1
    # Of each: -1 for PEs that have entries, else 0, and the SRAM rows of the first and the last one.
    some = np.empty((known, n_pe), np.int32)
    first, last = np.empty_like(some), np.empty_like(some)
    for at in range(known):
        low = listed[at] // widths
        high = low + listed[at] % widths
        for pe in range(n_pe):
            some[at, pe] = -1 if pointers[high, pe] > pointers[low, pe] else 0
            first[at, pe] = pointers[low, pe] // entries_per_row
            last[at, pe] = (pointers[high, pe] - 1) // entries_per_row
    uses = np.zeros(known, np.int64)
    held, fresh = np.empty(n_pe, np.int32), np.empty(n_pe, np.int32)
    for s in range(starts.shape[0] - 1):
        held[:] = -1
        fresh[:] = 0
        uses[:] = 0
        for k in range(starts[s], starts[s + 1]):
            at = place[np.int64(begins[k]) * widths + np.int64(ends[k]) - np.int64(begins[k])]
            uses[at] += 1
            for pe in range(n_pe):
                mask = some[at, pe]
                fresh[pe] -= np.int32(mask if first[at, pe] != held[pe] else np.int32(0))
                # The last row where the mask is set, without a branch that would keep lanes apart.
                held[pe] = np.int32(held[pe] ^ ((held[pe] ^ last[at, pe]) & mask))
        read = np.int64(0)
        for at in range(known):
            count = uses[at]
            if count == 0:
                continue
            low = listed[at] // widths
            high = low + listed[at] % widths
            padding[s] += count * (padding_before[high] - padding_before[low])
            for pe in range(n_pe):
                own = np.int64(pointers[high, pe]) - np.int64(pointers[low, pe])
                issue[s, pe] += count * own
                empty[s, pe] += count * (own == 0)
                read += count * (np.int64(last[at, pe]) - np.int64(first[at, pe])) * (own > 0)
        for pe in range(n_pe):
            read += fresh[pe]
            entries[s] += issue[s, pe]
        reads[s] = read
