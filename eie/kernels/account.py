"""Why PEs had nothing to do: docs/cycle-model.md, "Where the cycles go". No loop over cycles here either.

Comes in: when each activation was broadcast, as the kernels that time noted it. The scanner's state in any cycle
follows from that: between two broadcasts lie its dead cycles, then those in which a full queue held it. A PE that waits
for activation k is idle to the end of cycle W[k] + 1, and its gap is counted back from there.

`account_samples` goes as `eie.kernels.timing` does, in small numbers and many lanes. `account_walks` takes the rest:
strips, and columns that arrive meanwhile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit
from eie.kernels.scatter import row_steps
from eie.kernels.timing import LANES, repeats


@inlined
def _idle_and_add(
    backlog: NDArray[Any],
    idle: NDArray[Any],
    counts: NDArray[Any],
    start: Any,
    elapsed: Any,
    window: Any,
    lanes: Any,
) -> None:
    """Let ``elapsed`` cycles pass in every PE, count what it idled of them, and add a column.

    ``window`` says which of the last cycles are broadcasts (from the first or the second on, how many), how many before
    them stalled, and whether the very last did. ``idle`` holds both counts, lane by lane.
    """
    number = backlog.dtype.type
    first, most, stalled, last = window
    for lane in range(lanes):
        waiting = backlog[lane]
        left = number(waiting - elapsed) if waiting > elapsed else number(0)
        gap = number(elapsed - waiting) if elapsed > waiting else number(0)
        in_sent = min(number(gap - first) if gap > first else number(0), most)
        in_stall = min(number(gap - number(2)) if gap > number(2) else number(0), stalled)
        idle[lane] = number(idle[lane] + in_sent)
        idle[lanes + lane] = number(idle[lanes + lane] + in_stall + min(gap, last))
        backlog[lane] = number(left + max(counts[start + lane], number(1)))


@inlined
def _flush(idle: NDArray[Any], lanes: Any, broadcast: NDArray[np.int64], stall: NDArray[np.int64]) -> None:
    """Move the narrow counts to the wide ones."""
    for pe in range(broadcast.shape[0]):
        broadcast[pe] += np.int64(idle[pe])
        stall[pe] += np.int64(idle[lanes + pe])
    idle[:] = 0


@njit
def account_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    counts: NDArray[Any],
    columns: int,
    n_pe: int,
    highest: int,
    sent: NDArray[np.int64],
    backlog: NDArray[Any],
    idle: NDArray[Any],
    broadcast: NDArray[np.int64],
    stall: NDArray[np.int64],
) -> None:
    """Count the cycles that each PE idled while the scanner broadcast, and while it stalled, input by input.

    Parameters
    ----------
    starts, positions, counts, columns, highest
        As of `eie.kernels.timing.queue_samples`.
    sent
        W[k] of each position.
    backlog, idle
        Scratch of one type, (S,) and (2 * S,).
    broadcast, stall
        (N, L) filled, for PEs that are told apart.
    """
    number = backlog.dtype.type
    stride, told = np.uint64(backlog.shape[0]), broadcast.shape[1]
    for s in range(starts.shape[0] - 1):
        begin, end = starts[s], starts[s + 1]
        if begin == end:
            continue
        if repeats(starts, positions, s):
            broadcast[s], stall[s] = broadcast[s - 1], stall[s - 1]
            continue
        backlog[:] = 0
        idle[:] = 0
        counted = np.int64(0)
        row_end, before, steps = np.int64(n_pe), np.int64(-1), np.int64(0)
        # As in `queue_timing`: something seems to go out in cycle 1, and rows are stepped over from there.
        position = np.int64(positions[begin])
        while position >= row_end:
            row_end += n_pe
        last_sent: Any = np.int64(1)
        for k in range(begin, end):
            now: Any = sent[k]
            elapsed = now - last_sent
            stalled = elapsed - 1 - steps if k > begin else np.int64(0)
            before, last_sent = position, now
            # What the scanner does in the cycle behind this broadcast, the last in which a PE can wait for it.
            steps = np.int64(0)
            sends_next, stalls_next = np.int64(0), np.int64(0)
            column: Any = min(position, columns)
            start = np.uint64(column) * stride
            if k + 1 < end:
                position = np.int64(positions[k + 1])
                if position >= row_end:
                    steps = np.int64(before != row_end - 1)
                    row_end += n_pe
                    while position >= row_end:
                        row_end += n_pe
                        steps += 1
                if steps == 0:
                    sends_next = np.int64(sent[k + 1] == now + 1)
                    stalls_next = 1 - sends_next
            if k == begin:
                # All PEs idle alike, in all cycles up to W[0] + 1.
                for pe in range(told):
                    broadcast[s, pe] += 1 + sends_next
                    stall[s, pe] += stalls_next
                    backlog[pe] = max(number(counts[start + np.uint64(pe)]), number(1))
                continue
            if elapsed > highest:
                # More than a narrow number counts to: rare, and by hand. No PE has anything left behind it.
                for pe in range(told):
                    gap = elapsed - np.int64(backlog[pe])
                    broadcast[s, pe] += min(max(gap - 1 + sends_next, 0), 1 + sends_next)
                    stall[s, pe] += min(max(gap - 2, 0), stalled) + min(max(gap, 0), stalls_next)
                    backlog[pe] = number(max(-gap, 0)) + max(number(counts[start + np.uint64(pe)]), number(1))
                continue
            counted += elapsed
            if counted > highest:
                # No PE idles longer than the cycles that pass: until now nothing can have run over.
                _flush(idle, stride, broadcast[s], stall[s])
                counted = elapsed
            window = (number(1 - sends_next), number(1 + sends_next), number(stalled), number(stalls_next))
            if stride == LANES:
                _idle_and_add(backlog, idle, counts, start, number(elapsed), window, np.uint64(LANES))
            else:
                _idle_and_add(backlog, idle, counts, start, number(elapsed), window, stride)
        _flush(idle, stride, broadcast[s], stall[s])


@njit
def account_walks(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    pointers: NDArray[np.int32],
    n_pe: int,
    sent: NDArray[np.int64],
    arrivals: NDArray[np.int64],
    broadcast: NDArray[np.int64],
    stall: NDArray[np.int64],
) -> None:
    """Count the same where an activation takes ``begins`` to ``ends``, and no sooner than these have arrived.

    ``sent`` and ``arrivals`` hold W[k] and A[k] of each position; ``broadcast`` and ``stall`` (N, L) are filled.
    Scan rows have ``n_pe`` positions; ``pointers`` (J + 1, L) are those of PEs that are told apart.
    """
    told = pointers.shape[1]
    ready = np.empty(told, np.int64)
    for s in range(starts.shape[0] - 1):
        ready[:] = 0
        end = starts[s + 1]
        steps, last_sent = np.int64(0), np.int64(1)
        for k in range(starts[s], end):
            now = sent[k]
            stalled = now - last_sent - 1 - steps if k > starts[s] else np.int64(0)
            last_sent, steps = now, np.int64(0)
            sends_next, stalls_next = np.int64(0), np.int64(0)
            if k + 1 < end:
                here, there = np.int64(positions[k]), np.int64(positions[k + 1])
                steps = row_steps(there, here, n_pe)
                if steps == 0:
                    sends_next = np.int64(sent[k + 1] == now + 1)
                    stalls_next = 1 - sends_next
            low, high = pointers[begins[k]], pointers[ends[k]]
            for pe in range(told):
                gap = now + 1 - ready[pe]
                broadcast[s, pe] += min(max(gap - 1 + sends_next, 0), 1 + sends_next)
                stall[s, pe] += min(max(gap - 2, 0), stalled) + min(max(gap, 0), stalls_next)
                taken = max(ready[pe], now + 1, arrivals[k] + 1)
                ready[pe] = taken + max(np.int64(high[pe]) - np.int64(low[pe]), 1)


@njit
def list_padding(
    bases: NDArray[np.int64], pointers: NDArray[np.int32], codes: NDArray[np.uint8], before: NDArray[np.int32]
) -> None:
    """Count the padding entries ahead of each column in each PE; ``before`` (J + 1, L) is filled."""
    for pe in range(pointers.shape[1]):
        count, at = np.int32(0), bases[pe]
        for column in range(pointers.shape[0]):
            while at < bases[pe] + pointers[column, pe]:
                count += np.int32(codes[at] == 0)
                at += 1
            before[column, pe] = count


@njit
def add_padding(
    starts: NDArray[np.int64],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    padding: NDArray[np.int64],
    before: NDArray[np.int32],
    counted: NDArray[np.int64],
) -> None:
    """Add up the padding entries that each PE issues; ``padding`` (J + 1,) says ahead of which columns there is any.

    ``counted`` (N, L) is filled.
    """
    total = np.empty(before.shape[1], np.int32)
    for s in range(starts.shape[0] - 1):
        total[:] = 0
        for k in range(starts[s], starts[s + 1]):
            begin, end = np.int64(begins[k]), np.int64(ends[k])
            # Most columns of most layers have none.
            if padding[end] != padding[begin]:
                low, high = before[begin], before[end]
                for pe in range(total.shape[0]):
                    # In 32 bits, as pointers: twice the lanes.
                    total[pe] = np.int32(total[pe] + np.int32(high[pe] - low[pe]))
        for pe in range(total.shape[0]):
            counted[s, pe] = np.int64(total[pe])
