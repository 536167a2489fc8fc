"""What every PE does in every cycle, as spans: docs/cycle-model.md, "Where the cycles go", written out.

Comes in: when each activation was broadcast, as the kernels that time noted it. Nothing is walked cycle by cycle here
either: a PE's cycles between two slots are at most four spans, by what the scanner did in them. Read by
`eie.simulator.replay`, which counts with the same walk before it makes room for what is written.

Cycles of a product count from 1; ``offsets`` moves them to where the product stands in the run. A span lasts from its
first cycle to the one behind its last, and is clipped to the window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.kernels.jit import inlined, njit

# What a PE does, in the order of `eie.results.accounting.SHARES`.
USEFUL, PADDING, EMPTY, BROADCAST, SCAN, STALL, LOAD, DRAIN = range(8)
# What the scanner does.
SENDS, DEAD, STALLS = range(3)
# Columns of a PE's span, and of a queue's.
PE, FIRST, STOP, WHAT, LABEL = range(5)
# What a walk is at: spans so far, and of the last one what it is, whose activation it is of, and its end.
_COUNT, _LAST, _OWNER, _END = range(4)


@inlined
def _put(
    first: Any,
    stop: Any,
    what: Any,
    owner: Any,
    label: Any,
    window: NDArray[np.int64],
    pe: Any,
    state: NDArray[np.int64],
    spans: NDArray[np.int64],
) -> None:
    """Add a span of one PE, joined with the last where that is the same going on; only counted without room."""
    first, stop = max(first, window[0]), min(stop, window[1])
    if first < stop:
        if state[_LAST] != what or state[_END] != first or state[_OWNER] != owner:
            at = state[_COUNT]
            state[_COUNT] = at + 1
            state[_LAST], state[_OWNER] = what, owner
            if spans.shape[0] > 0:
                spans[at, 0], spans[at, 1], spans[at, 3], spans[at, 4] = pe, first, what, label
        state[_END] = stop
        if spans.shape[0] > 0:
            spans[state[_COUNT] - 1, 2] = stop


@inlined
def _idle(
    first: Any,
    now: Any,
    before: Any,
    steps: Any,
    behind: Any,
    at: Any,
    window: NDArray[np.int64],
    pe: Any,
    state: NDArray[np.int64],
    spans: NDArray[np.int64],
) -> None:
    """Say what a PE that waits for a broadcast in cycle ``now`` waits for, from ``first`` to the cycle behind it.

    ``before`` is the cycle of the last broadcast, ``steps`` are the dead cycles behind that, ``behind`` is what the
    scanner does in the cycle after this one; ``at`` is where the product stands.
    """
    stalls = max(first, before + steps + 1)
    _put(at + first, at + min(stalls, now), SCAN, -1, -1, window, pe, state, spans)
    _put(at + min(stalls, now), at + now, STALL, -1, -1, window, pe, state, spans)
    _put(at + max(first, now), at + now + 1, BROADCAST, -1, -1, window, pe, state, spans)
    _put(at + now + 1, at + now + 2, behind, -1, -1, window, pe, state, spans)


@njit
def pe_spans(
    products: NDArray[np.int64],
    starts: NDArray[np.int64],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    steps: NDArray[np.int64],
    labels: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    pointers: NDArray[np.int32],
    bases: NDArray[np.int64],
    levels: NDArray[np.int16],
    sent: NDArray[np.int64],
    arrivals: NDArray[np.int64],
    cycles: NDArray[np.int64],
    scan_rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    pes: NDArray[np.int64],
    window: NDArray[np.int64],
    counted: NDArray[np.int64],
    spans: NDArray[np.int64],
    queues: NDArray[np.int64],
) -> None:
    """Walk the queues of some PEs in some products, and write down what they do and how full their queues are.

    Parameters
    ----------
    products, pes, window
        (2,) each: the first one and the one behind the last.
    starts
        (N + 1,) product s owns the activations ``starts[s]`` to ``starts[s + 1] - 1``.
    begins, ends, steps, labels
        (K,) the columns that each takes, the dead cycles ahead of it, and what its spans are called.
    low, high, levels
        An entry writes if its level, (E,), is neither below ``low`` nor at or above ``high`` of the activation, (K,);
        with no ``levels`` all write.
    pointers, bases
        As of an `Encoding`; PEs behind the last column of ``pointers`` share it.
    sent, arrivals
        (K,) W[k] and A[k].
    cycles, scan_rows, offsets
        (N,) of each product, and the cycle of the run before its first.
    counted
        (N, 3) filled for these products: spans, queue spans, and how often a queue changes.
    spans
        (M, 5) filled, or of length 0: PE, first cycle, the one behind the last, what, label.
    queues
        (M, 4) filled, or of length 0: PE, first cycle, the one behind the last, activations in the queue.
    """
    state = np.zeros(4, np.int64)
    most = np.int64(0)
    for s in range(products[0], products[1]):
        most = max(most, starts[s + 1] - starts[s])
    taken = np.empty(most, np.int64)
    queued = np.int64(0)
    for s in range(products[0], products[1]):
        counted[s] = 0
        at, begin, end = offsets[s], starts[s], starts[s + 1]
        if at + cycles[s] < window[0] or at + 1 >= window[1]:
            continue
        spans_before, queued_before = state[_COUNT], queued
        for pe in range(pes[0], pes[1]):
            state[_LAST] = -1
            lane = min(pe, pointers.shape[1] - 1)
            # The last cycle that is told of.
            ready = np.int64(0)
            if begin == end:
                # Nothing goes out: all wait for the scan to its end.
                ready = 1 + scan_rows[s]
                _put(at + 1, at + ready + 1, SCAN, -1, -1, window, pe, state, spans)
            before = np.int64(1)
            for k in range(begin, end):
                now = sent[k]
                behind = np.int64(SCAN)
                if k + 1 < end and steps[k + 1] == 0:
                    behind = np.int64(BROADCAST) if sent[k + 1] == now + 1 else np.int64(STALL)
                if ready <= now:
                    _idle(ready + 1, now, before, steps[k], behind, at, window, pe, state, spans)
                before = now
                start = max(ready, now + 1)
                if arrivals[k] + 1 > start:
                    _put(at + start + 1, at + arrivals[k] + 2, LOAD, -1, -1, window, pe, state, spans)
                    start = arrivals[k] + 1
                taken[k - begin] = start
                entry = bases[pe] + np.int64(pointers[begins[k], lane])
                count = np.int64(pointers[ends[k], lane]) - np.int64(pointers[begins[k], lane])
                here = at + start + 1
                if count == 0:
                    _put(here, here + 1, EMPTY, -1, -1, window, pe, state, spans)
                elif levels.shape[0] == 0:
                    _put(here, here + count, USEFUL, k, labels[k], window, pe, state, spans)
                else:
                    for i in range(count):
                        level = np.int64(levels[entry + i])
                        writes = low[k] <= level < high[k]
                        what = np.int64(USEFUL) if writes else np.int64(PADDING)
                        _put(here + i, here + i + 1, what, k, labels[k], window, pe, state, spans)
                ready = start + max(count, 1)
            _put(at + ready + 1, at + cycles[s] + 1, DRAIN, -1, -1, window, pe, state, spans)
            # The queue: one more from the cycle behind a broadcast on, one less from the one behind that in which it
            # is taken.
            pushed, popped, last = begin, begin, np.int64(-1)
            while popped < end:
                out = taken[popped - begin] + 1
                here = out
                if pushed < end:
                    here = min(here, sent[pushed] + 1)
                    pushed += np.int64(sent[pushed] + 1 == here)
                popped += np.int64(out == here)
                if popped == end:
                    break
                then = taken[popped - begin] + 1
                if pushed < end:
                    then = min(then, sent[pushed] + 1)
                first, stop = max(at + here, window[0]), min(at + then, window[1])
                if pushed > popped and first < stop:
                    if queues.shape[0] > 0:
                        queues[queued, 0], queues[queued, 1] = pe, first
                        queues[queued, 2], queues[queued, 3] = stop, pushed - popped
                    queued += 1
                    # One change where it begins, and one where it ended empty.
                    counted[s, 2] += 1 + np.int64(last >= 0 and last != first)
                    last = stop
            counted[s, 2] += np.int64(last >= 0)
        counted[s, 0] = state[_COUNT] - spans_before
        counted[s, 1] = queued - queued_before


@njit
def scanner_spans(
    products: NDArray[np.int64],
    starts: NDArray[np.int64],
    steps: NDArray[np.int64],
    sent: NDArray[np.int64],
    scan_ends: NDArray[np.int64],
    offsets: NDArray[np.int64],
    window: NDArray[np.int64],
    counted: NDArray[np.int64],
    spans: NDArray[np.int64],
) -> None:
    """Write down what the scanner does in some products; parameters as of `pe_spans`.

    ``scan_ends`` (N,) are its last cycles; ``counted`` (N,) is filled; ``spans`` (M, 5) too, unless of length 0, with
    -1 for the PE.
    """
    state = np.zeros(4, np.int64)
    for s in range(products[0], products[1]):
        already = state[_COUNT]
        state[_LAST] = -1
        at, before = offsets[s], np.int64(1)
        _put(at + 1, at + 2, DEAD, -1, -1, window, -1, state, spans)
        for k in range(starts[s], starts[s + 1]):
            now = sent[k]
            _put(at + before + 1, at + before + 1 + steps[k], DEAD, -1, -1, window, -1, state, spans)
            _put(at + before + 1 + steps[k], at + now, STALLS, -1, -1, window, -1, state, spans)
            _put(at + now, at + now + 1, SENDS, -1, -1, window, -1, state, spans)
            before = now
        _put(at + before + 1, at + scan_ends[s] + 1, DEAD, -1, -1, window, -1, state, spans)
        counted[s] = state[_COUNT] - already


@njit
def new_columns(
    starts: NDArray[np.int64],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    turns: NDArray[np.int64],
    transfer: NDArray[np.int64],
    seen: NDArray[np.int64],
    beats: NDArray[np.int64],
) -> None:
    """Add up how long the bus works for what each activation is the first of its turn to need.

    ``turns`` (N,) of each product; ``seen`` (J,) the turn for which each column came last, kept from call to call;
    ``beats`` (K,) is filled.
    """
    for s in range(starts.shape[0] - 1):
        for k in range(starts[s], starts[s + 1]):
            for j in range(begins[k], ends[k]):
                if seen[j] != turns[s]:
                    seen[j] = turns[s]
                    beats[k] += transfer[j]


@njit
def fill_bins(
    spans: NDArray[np.int64], first: int, cycles_a_bin: int, first_pe: int, weight: bool, bins: NDArray[np.float64]
) -> None:
    """Spread spans over a grid of PEs and bins of time, (P, B, kinds); ``weight``: add up, by fullness, in kind 0."""
    for i in range(spans.shape[0]):
        start, stop = spans[i, FIRST] - first, spans[i, STOP] - first
        kind = 0 if weight else spans[i, WHAT]
        share = spans[i, WHAT] if weight else np.int64(1)
        while start < stop:
            b = start // cycles_a_bin
            until = min(stop, (b + 1) * cycles_a_bin)
            bins[spans[i, PE] - first_pe, b, kind] += share * (until - start)
            start = until
