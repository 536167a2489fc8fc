"""The strips of a convolution that broadcasts each activation once: which activation takes which columns, and when.

Comes in: a `Scatter`, the strips' visits, a layer's inputs. Goes out: a pattern of ranges, a strip a product, and what
is counted of them. Called by `layer` and `fast`; the event engine walks the same ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.scatter import listed_ranges
from eie.compiler.stream import Stream
from eie.kernels import scatter as kernels
from eie.kernels import scatter_tallies as tallies
from eie.model.geometry import Scatter, Visit
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen
from eie.simulator.records import UNNOTED, Pattern, QueueTiming, Schedule, StreamTiming, Tally
from eie.simulator.spread import spread

CHUNK = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranges(Pattern):
    """Non-zero activations of strips, each with the columns that it takes.

    Attributes
    ----------
    begins, ends
        int32, for each position: the first column and the one behind the last.
    scan_rows
        int64 (N,): of each strip.
    rows_a_pixel
        Scan rows that the channels of a pixel take.
    outside
        int64 (N,): entries of each strip, over all PEs, that write nothing, since their outputs lie outside the map.
    """

    begins: NDArray[np.int32]
    ends: NDArray[np.int32]
    scan_rows: NDArray[np.int64]
    rows_a_pixel: int
    outside: NDArray[np.int64]

    @cached_property
    def listed(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """For each position the place of its range among those that occur, and these, (ranges, 2)."""
        return listed_ranges(self.begins, self.ends)


@dataclass(frozen=True, eq=False, kw_only=True)
class Turns:
    """How weights come for strips: ``turns`` (N,) of each, ``seen`` (columns + 1,) the last turn each came for."""

    turns: NDArray[np.int64]
    seen: NDArray[np.int64]

    @classmethod
    def each(cls, pattern: Pattern, encoding: Encoding) -> Turns:
        """Bring everything for every strip anew."""
        return cls(turns=np.arange(pattern.products), seen=np.full(len(encoding.pointers), -1, np.int64))


def ranges_of(
    scatter: Scatter,
    visits: Sequence[Visit],
    inputs: LayerTrace,
    *,
    n_pe: int,
    weights_before: NDArray[np.int64],
) -> Ranges:
    """List what the strips of every sample broadcast; ``weights_before`` is that of the pass."""
    channels, taps = scatter.conv.in_channels, scatter.conv.kernel[0] * scatter.conv.kernel[1]
    rows_a_pixel = -(-channels // n_pe)
    # One more than there can be: the place behind the last is written too.
    most = sum(len(visit.window) for visit in visits) * inputs.samples * channels + 1
    room = [np.empty(most, np.int32) for _ in range(3)]
    starts, outside = [0], []
    bits = frozen(inputs.bits, np.uint8).reshape(inputs.samples, inputs.products, -1)
    for sample in bits:
        for visit in visits:
            count, beyond = kernels.list_broadcasts(
                sample,
                visit.window,
                visit.tap,
                visit.first,
                visit.stop,
                visit.low,
                visit.high,
                weights_before,
                channels,
                taps,
                scatter.columns_a_channel,
                rows_a_pixel * n_pe,
                *(array[starts[-1] :] for array in room),
            )
            starts.append(starts[-1] + count)
            outside.append(beyond)
    # What lies behind them was never touched, and takes no memory.
    positions, begins, ends = (frozen(array[: starts[-1]], np.int32) for array in room)
    # A strip that sees nothing but pads still has its first row loaded.
    rows = [max(1, len(visit.window) * rows_a_pixel) for visit in visits] * inputs.samples
    return Ranges(
        starts=frozen(starts, np.int64),
        positions=positions,
        begins=begins,
        ends=ends,
        scan_rows=frozen(rows, np.int64),
        rows_a_pixel=rows_a_pixel,
        outside=frozen(outside, np.int64),
    )


def queue_ranges(
    encoding: Encoding,
    pattern: Ranges,
    act_queue_depth: int,
    *,
    threads: int | None,
    stream: Stream | None = None,
    turns: Turns | None = None,
    schedule: Schedule | None = None,
) -> QueueTiming:
    """Walk strips through the queues; with a ``stream`` it is a `StreamTiming`."""
    schedule = schedule or UNNOTED
    if stream is not None:
        turns = turns or Turns.each(pattern, encoding)
        return _stream_ranges(encoding, pattern, act_queue_depth, stream=stream, turns=turns, schedule=schedule)
    timing, pointers = QueueTiming.blank(pattern.products, encoding.n_pe), _pointers(encoding)
    which, ranges = pattern.listed

    def run(start: int, stop: int) -> None:
        kernels.range_queues(
            pattern.starts[start : stop + 1],
            pattern.positions,
            which,
            ranges,
            pattern.scan_rows[start:stop],
            pointers,
            act_queue_depth,
            timing.cycles[start:stop],
            timing.stall[start:stop],
            timing.dead[start:stop],
            timing.free[start:stop],
            schedule.sent,
        )

    _in_chunks(run, pattern, threads)
    return timing


def _stream_ranges(
    encoding: Encoding, pattern: Ranges, act_queue_depth: int, *, stream: Stream, turns: Turns, schedule: Schedule
) -> StreamTiming:
    timing = StreamTiming.blank(pattern.products, encoding.n_pe)
    # On one thread: what has come for a strip is there for those behind it.
    kernels.range_streams(
        pattern.starts,
        pattern.positions,
        pattern.begins,
        pattern.ends,
        pattern.scan_rows,
        _pointers(encoding),
        act_queue_depth,
        turns.turns,
        turns.seen,
        stream.cycles,
        stream.bits,
        stream.latency_cycles,
        stream.first_half(encoding) if stream.whole else -1,
        timing.cycles,
        timing.stall,
        timing.dead,
        timing.free,
        timing.load,
        timing.bus,
        timing.dram_bits,
        schedule.sent,
        schedule.arrivals,
    )
    return timing


def tally_ranges(encoding: Encoding, pattern: Ranges, entries_per_row: int, *, threads: int | None) -> Tally:
    """Count what strips read and issue."""
    tally = Tally.blank(pattern.products, encoding.n_pe)
    pointers = _pointers(encoding)
    which, ranges = pattern.listed
    padding_before = frozen(np.concatenate(([0], np.cumsum(encoding.padding))), np.int64)

    def run(start: int, stop: int) -> None:
        tallies.range_tallies(
            pattern.starts[start : stop + 1],
            which,
            ranges,
            pointers,
            entries_per_row,
            padding_before,
            tally.reads[start:stop],
            tally.entries[start:stop],
            tally.padding[start:stop],
            tally.issue[start:stop],
            tally.empty[start:stop],
        )

    _in_chunks(run, pattern, threads)
    tally.padding[:] += pattern.outside
    return tally


def _pointers(encoding: Encoding) -> NDArray[np.int32]:
    # Of all PEs, read-only and row by row, for which the kernels are compiled; those behind the rows share a column.
    return frozen(encoding.for_all(encoding.pointers), np.int32)


def _in_chunks(run: Callable[[int, int], None], pattern: Ranges, threads: int | None) -> None:
    spread(run=run, count=pattern.products, largest=CHUNK, threads=threads)
