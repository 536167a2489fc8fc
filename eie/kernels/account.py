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
from eie.kernels.timing import LANES, on_a_line, place_of, repeats, step_rows


@inlined
def _less(number: Any, value: Any, by: Any) -> Any:
    """``value`` less ``by``, not below zero."""
    # In this form LLVM finds the one instruction; as a comparison it came out as three in places.
    return number(max(value, by) - by)


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
        gap = _less(number, elapsed, waiting)
        in_stall = min(_less(number, gap, number(2)), stalled)
        idle[lane] = number(idle[lane] + min(_less(number, gap, first), most))
        idle[lanes + lane] = number(idle[lanes + lane] + number(in_stall + min(gap, last)))
        backlog[lane] = number(_less(number, waiting, elapsed) + max(counts[start + lane], number(1)))


@inlined
def _idle_twice(
    number: Any, waiting: Any, elapsed: Any, window: Any, slots: Any, later: Any, behind: Any
) -> tuple[Any, Any, Any]:
    """Do so twice in one PE: ``elapsed`` cycles in ``window`` and a column's slots, then ``later`` in ``behind``.

    What it idled of broadcasts and of stalls, and what it has left.
    """
    gap = _less(number, elapsed, waiting)
    in_sent = min(_less(number, gap, window[0]), window[1])
    in_stall = number(min(_less(number, gap, number(2)), window[2]) + min(gap, window[3]))
    waiting = number(_less(number, waiting, elapsed) + slots)
    gap = _less(number, later, waiting)
    in_sent = number(in_sent + min(_less(number, gap, behind[0]), behind[1]))
    more = number(min(_less(number, gap, number(2)), behind[2]) + min(gap, behind[3]))
    return in_sent, number(in_stall + more), _less(number, waiting, later)


@inlined
def _pass_twice(
    number: Any, waiting: Any, elapsed: Any, window: Any, slots: Any, later: Any, behind: Any
) -> tuple[Any, Any]:
    """The same where nothing stalls: two thirds of the operations, in most columns of wide machines."""
    in_sent = min(_less(number, _less(number, elapsed, waiting), window[0]), window[1])
    waiting = number(_less(number, waiting, elapsed) + slots)
    more = min(_less(number, _less(number, later, waiting), behind[0]), behind[1])
    return number(in_sent + more), _less(number, waiting, later)


@inlined
def _flush(idle: NDArray[Any], lanes: Any, broadcast: NDArray[np.int64], stall: NDArray[np.int64]) -> None:
    """Move the narrow counts to the wide ones."""
    for pe in range(broadcast.shape[0]):
        broadcast[pe] += np.int64(idle[pe])
        stall[pe] += np.int64(idle[lanes + pe])
    idle[:] = 0


@inlined
def _look_behind(position: Any, coming: Any, later: Any, row_end: Any, n_pe: Any) -> tuple[Any, Any, Any, Any]:
    """What the scanner does behind the broadcast of ``position``, whose row ends at ``row_end``.

    ``coming``: the next position, -1 for none, which goes out ``later`` cycles after. Where its row ends, the dead
    cycles before it, and whether the cycle behind the broadcast, the last in which a PE can wait for it, broadcasts or
    stalls.
    """
    steps, row_end = step_rows(coming, position, row_end, n_pe)
    goes_on = np.int64((coming >= 0) & (steps == 0))
    sends = goes_on & np.int64(later == 1)
    return row_end, steps, sends, goes_on - sends


@njit
def account_samples(
    starts: NDArray[np.int64],
    positions: NDArray[np.int32],
    counts: NDArray[Any],
    columns: int,
    n_pe: int,
    highest: int,
    sent: NDArray[np.int64],
    room: NDArray[Any],
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
    room
        Scratch, (3 * S + LANES,) of a type that holds any backlog.
    broadcast, stall
        (N, L) filled, for PEs that are told apart.
    """
    number, scratch = room.dtype.type, on_a_line(room)
    lanes = scratch.shape[0] // 3
    backlog, idle = scratch[:lanes], scratch[lanes:]
    stride, told = np.uint64(lanes), broadcast.shape[1]
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
        position = np.int64(positions[begin])
        # As in `queue_timing`: rows are stepped over from the first on.
        row_end = np.int64(n_pe)
        while position >= row_end:
            row_end += n_pe
        # Behind the last broadcast lies nothing that a PE could wait for.
        coming = np.int64(positions[begin + 1]) if begin + 1 < end else np.int64(-1)
        later: Any = sent[begin + 1] - sent[begin] if begin + 1 < end else np.int64(highest)
        row_end, steps, sends, stalls = _look_behind(position, coming, later, row_end, n_pe)
        # All PEs idle alike, in all cycles up to W[0] + 1.
        start = place_of(position, columns, stride)
        for pe in range(told):
            broadcast[s, pe] += 1 + sends
            stall[s, pe] += stalls
            backlog[pe] = max(number(counts[start + np.uint64(pe)]), number(1))
        k = begin + 1
        while k < end:
            position, elapsed, stalled = coming, later, later - 1 - steps
            coming = np.int64(positions[k + 1]) if k + 1 < end else np.int64(-1)
            later = sent[k + 1] - sent[k] if k + 1 < end else np.int64(highest)
            row_end, steps, sends, stalls = _look_behind(position, coming, later, row_end, n_pe)
            start = place_of(position, columns, stride)
            k += 1
            if elapsed > highest:
                # More than a narrow number counts to: rare, and by hand. No PE has anything left behind it.
                for pe in range(told):
                    gap = elapsed - np.int64(backlog[pe])
                    broadcast[s, pe] += min(max(gap - 1 + sends, 0), 1 + sends)
                    stall[s, pe] += min(max(gap - 2, 0), stalled) + min(max(gap, 0), stalls)
                    backlog[pe] = number(max(-gap, 0)) + max(number(counts[start + np.uint64(pe)]), number(1))
                continue
            window = number(1 - sends), number(1 + sends), number(stalled), number(stalls)
            counted += elapsed
            if later > highest - counted:
                # No PE idles longer than the cycles that pass: until now nothing can have run over.
                _flush(idle, stride, broadcast[s], stall[s])
                counted = elapsed
            if later > highest - elapsed:
                # The last column, or a long wait.
                _idle_and_add(backlog, idle, counts, start, number(elapsed), window, stride)
                continue
            # Two columns a turn, as `queue_timing`: what is kept of a PE is loaded and stored half as often.
            position, passed, more, stalled = coming, number(elapsed), number(later), later - 1 - steps
            counted += later
            coming = np.int64(positions[k + 1]) if k + 1 < end else np.int64(-1)
            later = sent[k + 1] - sent[k] if k + 1 < end else np.int64(highest)
            row_end, steps, sends, stalls = _look_behind(position, coming, later, row_end, n_pe)
            then = place_of(position, columns, stride)
            k += 1
            behind = number(1 - sends), number(1 + sends), number(stalled), number(stalls)
            stalls_at_all = window[2] | window[3] | behind[2] | behind[3]
            # Loops here and not in leaves: numba counts references of arrays that go to a leaf in a branch, which took
            # longer than 64 lanes do.
            if stride == LANES:
                for lane in range(np.uint64(LANES)):
                    slots = max(counts[start + lane], number(1))
                    in_sent, in_stall, left = _idle_twice(number, backlog[lane], passed, window, slots, more, behind)
                    idle[lane] = number(idle[lane] + in_sent)
                    idle[np.uint64(LANES) + lane] = number(idle[np.uint64(LANES) + lane] + in_stall)
                    backlog[lane] = number(left + max(counts[then + lane], number(1)))
            elif stalls_at_all == 0:
                for lane in range(stride):
                    slots = max(counts[start + lane], number(1))
                    in_sent, left = _pass_twice(number, backlog[lane], passed, window, slots, more, behind)
                    idle[lane] = number(idle[lane] + in_sent)
                    backlog[lane] = number(left + max(counts[then + lane], number(1)))
            else:
                for lane in range(stride):
                    slots = max(counts[start + lane], number(1))
                    in_sent, in_stall, left = _idle_twice(number, backlog[lane], passed, window, slots, more, behind)
                    idle[lane] = number(idle[lane] + in_sent)
                    idle[stride + lane] = number(idle[stride + lane] + in_stall)
                    backlog[lane] = number(left + max(counts[then + lane], number(1)))
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
