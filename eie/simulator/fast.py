"""The fast engine: cycles and counts from recurrences, O(activations x PEs), on threads.

Comes in: an `Encoding` and a `Pattern`. Goes out: `PassTiming`, the same record as the event engine's, put together
from what the queues decide and what they do not, so that a sweep can redo one without the other. The loops are in
`eie.kernels.timing`; here their number type is chosen, and the batch is spread over threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.stream import Stream
from eie.kernels import streams, tallies
from eie.kernels import timing as kernels
from eie.simulator.records import UNNOTED, Arrivals, PassTiming, Pattern, QueueTiming, Schedule, StreamTiming, Tally
from eie.simulator.spread import spread
from eie.simulator.strips import Ranges, Turns, queue_ranges, tally_ranges
from eie.spec import AcceleratorSpec

CHUNK = 256
# By type: asking numpy takes a microsecond, half as long as counting a small layer.
LARGEST = {np.dtype(kind): int(np.iinfo(kind).max) for kind in (np.uint8, np.uint16, np.int32, np.int64)}


def backlog_type(encoding: Encoding, act_queue_depth: int) -> Any:
    """Return a number type that holds any backlog the queue allows.

    When activation k is broadcast, activation k - (Q - 1) has left every queue, so what a PE still has before it is at
    most the slots of Q columns. Backlogs narrower than 64 bits are for slots of 8.
    """
    bound = encoding.largest_slot * min(act_queue_depth, len(encoding.counts))
    if bound <= 0xFF:
        return np.uint8
    return np.uint16 if bound <= 0xFFFF and encoding.counts.dtype == np.uint8 else np.int64


def slots_beside(encoding: Encoding, number: Any) -> NDArray[Any]:
    """Return (J * S,) slots in the type that kernels take beside backlogs of type ``number``.

    One type each, as a kernel is compiled for every pair of types that it meets.
    """
    return (encoding.wide_counts if number is np.int64 else encoding.counts).reshape(-1)


def time_pass(
    encoding: Encoding,
    pattern: Pattern,
    spec: AcceleratorSpec,
    threads: int | None = None,
    advanced: Callable[[int], None] = lambda _: None,
    stream: Stream | None = None,
    arrivals: Arrivals | Turns | None = None,
) -> PassTiming:
    """Time one pass.

    Parameters
    ----------
    stream
        How the weights arrive; None where they are in place.
    arrivals
        Which of them; without, all that an input needs.
    threads
        Worker threads; the machine's cores by default. Counts do not depend on it.
    advanced
        Called with the number of products just done.
    """
    tally = tally_pass(encoding=encoding, pattern=pattern, entries_per_row=spec.entries_per_row, threads=threads)
    return PassTiming.of(
        queue_pass(
            encoding=encoding,
            pattern=pattern,
            act_queue_depth=spec.act_queue_depth,
            threads=threads,
            advanced=advanced,
            stream=stream,
            arrivals=arrivals,
        ),
        tally,
    )


def queue_pass(
    encoding: Encoding,
    pattern: Pattern,
    act_queue_depth: int,
    threads: int | None = None,
    advanced: Callable[[int], None] = lambda _: None,
    stream: Stream | None = None,
    arrivals: Arrivals | Turns | None = None,
    schedule: Schedule | None = None,
) -> QueueTiming:
    """Walk a pass through the queues; parameters as in `time_pass`. With a ``stream`` it is a `StreamTiming`.

    ``schedule`` is filled, where it is asked for: when each activation was broadcast.
    """
    if isinstance(pattern, Ranges):
        turns = arrivals if isinstance(arrivals, Turns) else None
        timed = queue_ranges(
            encoding, pattern, act_queue_depth, threads=threads, stream=stream, turns=turns, schedule=schedule
        )
        advanced(pattern.products)
        return timed
    if stream is not None:
        return _stream_pass(
            encoding=encoding,
            pattern=pattern,
            act_queue_depth=act_queue_depth,
            threads=threads,
            advanced=advanced,
            stream=stream,
            arrivals=arrivals if isinstance(arrivals, Arrivals) else Arrivals.all(pattern),
            schedule=schedule or UNNOTED,
        )
    timing = QueueTiming.blank(pattern.products, encoding.n_pe)
    number = backlog_type(encoding, act_queue_depth)
    counts, lanes = slots_beside(encoding, number), encoding.counts.shape[1]
    noted = () if schedule is None else (schedule.sent,)

    def run(start: int, stop: int) -> None:
        room = np.empty(lanes + kernels.LANES, number)
        kernels.queue_samples(
            pattern.starts[start : stop + 1],
            pattern.positions,
            counts,
            encoding.inputs,
            encoding.scan_rows,
            encoding.n_pe,
            encoding.pointers.shape[1],
            act_queue_depth,
            LARGEST[room.dtype],
            room,
            timing.cycles[start:stop],
            timing.stall[start:stop],
            timing.dead[start:stop],
            timing.free[start:stop],
            *noted,
        )
        advanced(stop - start)

    spread(run=run, count=pattern.products, largest=CHUNK, threads=threads)
    return timing


def _stream_pass(
    *,
    encoding: Encoding,
    pattern: Pattern,
    act_queue_depth: int,
    threads: int | None,
    advanced: Callable[[int], None],
    stream: Stream,
    arrivals: Arrivals,
    schedule: Schedule,
) -> StreamTiming:
    timing = StreamTiming.blank(pattern.products, encoding.pointers.shape[1])

    def run(start: int, stop: int) -> None:
        streams.stream_samples(
            pattern.starts[start : stop + 1],
            pattern.positions,
            arrivals.comes,
            arrivals.loads[start:stop],
            encoding.pointers,
            stream.cycles,
            stream.bits,
            encoding.inputs,
            encoding.n_pe,
            encoding.scan_rows,
            act_queue_depth,
            stream.half,
            stream.latency_cycles,
            stream.whole,
            stream.held,
            timing.cycles[start:stop],
            timing.stall[start:stop],
            timing.dead[start:stop],
            timing.free[start:stop],
            timing.load[start:stop],
            timing.bus[start:stop],
            timing.dram_bits[start:stop],
            schedule.sent,
            schedule.arrivals,
        )
        advanced(stop - start)

    spread(run=run, count=pattern.products, largest=CHUNK, threads=threads)
    # Every PE gets its counts where one without rows was walked for all of them.
    return replace(timing, free=encoding.for_all(timing.free), load=encoding.for_all(timing.load))


def tally_pass(encoding: Encoding, pattern: Pattern, entries_per_row: int, threads: int | None = None) -> Tally:
    """Count what a pass reads and issues; parameters as in `time_pass`."""
    if isinstance(pattern, Ranges):
        return tally_ranges(encoding, pattern, entries_per_row, threads=threads)
    tally = Tally.blank(pattern.products, encoding.n_pe)
    table = encoding.row_table(entries_per_row)
    counts, rows = encoding.counts.reshape(-1), table.rows.reshape(-1)
    # A sum over so many columns, and their number, is no larger than the type holds.
    stretch = LARGEST[counts.dtype] // encoding.largest_slot

    def run(start: int, stop: int) -> None:
        tallies.tally_samples(
            pattern.starts[start : stop + 1],
            pattern.positions,
            counts,
            rows,
            table.totals,
            encoding.inputs,
            encoding.pointers.shape[1],
            stretch,
            np.empty(2 * encoding.counts.shape[1] + kernels.LANES, counts.dtype),
            tally.reads[start:stop],
            tally.entries[start:stop],
            tally.padding[start:stop],
            tally.issue[start:stop],
            tally.empty[start:stop],
        )

    spread(run=run, count=pattern.products, largest=CHUNK, threads=threads)
    return tally
