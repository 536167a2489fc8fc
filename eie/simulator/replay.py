"""A layer's use told again, product by product: when each ran and what every PE did in it.

Comes in: a `Recount`, and which samples of which use. Goes out: `Piece`s in the order of time, which write their spans
where they are asked for. Read by `eie.results.timeline` and the heat maps. Timed by the fast engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.encoded import EncodedLayer
from eie.compiler.stream import Stream
from eie.compiler.strips import visits_of
from eie.kernels import encode as decoding
from eie.kernels import timeline as kernels
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen
from eie.simulator.accounting import columns_of
from eie.simulator.arriving import Arriving
from eie.simulator.fast import queue_pass
from eie.simulator.layer import Slice, slices
from eie.simulator.records import Schedule, StreamTiming
from eie.simulator.recount import Recount
from eie.simulator.strips import Ranges
from eie.spec import AcceleratorSpec

Cycles = NDArray[np.int64]
# What spans are called that are no input's, and those of the bias column.
UNNAMED, BIAS = -1, -2
NOTHING = np.empty((0, 5), np.int64)
# What is beyond the cycle contract: weights of a pass brought in anew, registers filled and emptied, the bus.
WAITS = ("reload", "registers", "bus")


@dataclass(frozen=True, eq=False, kw_only=True)
class Spans:
    """What happened in some products, int64, a row a span.

    A row is PE, first cycle, the one behind the last, what, and of which input.
    ``pes`` (M, 5): what PEs do, by the names of shares; ``queues`` (M, 4): how many activations are in a queue, where
    there are any; ``scanner`` (M, 5): broadcast, dead or stalled.
    """

    pes: Cycles
    queues: Cycles
    scanner: Cycles


@dataclass(frozen=True, eq=False, kw_only=True)
class Piece:
    """Some products of a use in one pass.

    Attributes
    ----------
    turn, passes
        Which pass, of how many.
    unit
        What a product is: one, or a strip.
    sample_of, numbers
        int64 (N,): the sample of each product, and which of its products it is.
    offsets, cycles
        int64 (N,): the cycle of the run before its first, and how many it takes.
    each
        How many a sample has in this pass.
    loads
        int64 (M, 3): from which cycle on, and up to which, weights are on the bus, and for which product.
    waits
        The same of cycles beyond the contract, in which all PEs wait; the fourth says what for, see `WAITS`.
    arguments, scanner
        What the kernels take of the products.
    """

    turn: int
    passes: int
    unit: str
    sample_of: Cycles
    numbers: Cycles
    each: int
    offsets: Cycles
    cycles: Cycles
    loads: Cycles
    waits: Cycles
    arguments: tuple[NDArray[Any], ...]
    scanner: tuple[NDArray[Any], ...]

    @cached_property
    def begins(self) -> Cycles:
        """int64 (N,): the first cycle of each product, what it waits for ahead included."""
        begins = self.offsets + 1
        np.minimum.at(begins, self.waits[:, 2], self.waits[:, 0])
        return begins

    @cached_property
    def stops(self) -> Cycles:
        """int64 (N,): the cycle behind the last of each product, waits included."""
        stops = self.offsets + self.cycles + 1
        np.maximum.at(stops, self.waits[:, 2], self.waits[:, 1])
        return stops

    @property
    def stop(self) -> int:
        """The cycle behind the last of all."""
        return int(self.stops[-1])

    def count(self, products: range, pes: range, window: range) -> Cycles:
        """int64 (products, 4): spans of PEs and of queues, changes of queues, and spans of the scanner."""
        counted = np.zeros((len(self.cycles), 3), np.int64)
        scanned = np.zeros(len(self.cycles), np.int64)
        self._walk(products, pes, window, into=(counted, NOTHING, NOTHING), scanner=(scanned, NOTHING))
        every: Cycles = np.column_stack((counted, scanned))[products.start : products.stop]
        return every

    def spans(self, products: range, pes: range, window: range) -> Spans:
        """Write down what happens in some products, on some PEs, within a window of cycles."""
        rows = self.count(products, pes, window).sum(axis=0)
        counted, scanned = np.zeros((len(self.cycles), 3), np.int64), np.zeros(len(self.cycles), np.int64)
        # One row more, since no rows would mean that it is only counted.
        written = [np.empty((rows[i] + 1, width), np.int64) for i, width in ((0, 5), (1, 4), (3, 5))]
        self._walk(products, pes, window, into=(counted, *written[:2]), scanner=(scanned, written[2]))
        every, queues, scanner = (array[:-1] for array in written)
        return Spans(pes=every, queues=queues, scanner=scanner)

    def _walk(
        self, products: range, pes: range, window: range, *, into: tuple[Cycles, ...], scanner: tuple[Cycles, ...]
    ) -> None:
        some, within = _ends(products), _ends(window)
        walked: tuple[Any, ...] = (some, *self.arguments, _ends(pes), within, *into)
        kernels.pe_spans(*walked)
        walked = (some, *self.scanner, within, *scanner)
        kernels.scanner_spans(*walked)

    def idle(self, pes: range, window: range, products: range | None = None) -> Cycles:
        """Return spans, as `Spans.pes`, of what some PEs wait for beyond the contract, around some products."""
        products = products or range(len(self.cycles))
        first, stop = np.maximum(self.waits[:, 0], window.start), np.minimum(self.waits[:, 1], window.stop)
        of = self.waits[:, 2]
        some = np.flatnonzero((first < stop) & (of >= products.start) & (of < products.stop))
        every = np.tile(np.arange(pes.start, pes.stop), len(some))
        ends = [np.repeat(cycles[some], len(pes)) for cycles in (first, stop)]
        return np.column_stack((every, *ends, np.full(len(every), kernels.LOAD), np.full(len(every), UNNAMED)))


def pieces(recount: Recount, use: str, samples: slice, *, at: int = 0) -> Iterator[Piece]:
    """Go through the products of some samples in order of time; the first begins behind cycle ``at``.

    Passes go in turn, in each of them samples, of which each its products. What a sample's time has beyond the cycle
    contract stands around them: a reload ahead of its first product, registers and the bus behind its last.
    """
    spec, batch, read = recount.spec, recount.plan.batch, recount.inputs[use]
    rows = slice(samples.start * read.products, samples.stop * read.products)
    inputs = replace(read, bits=frozen(read.bits[rows], np.uint8), values=None)
    stages = recount.stages()
    layer = stages.placed(stages.places[use], spec, read)
    streamed = recount.plan.by_name[layer.name].place == "streamed"
    for turn, encoding in enumerate(layer.passes):
        single = replace(layer, passes=(encoding,))
        walk = _Walk(single, inputs, spec, arriving=_arriving(single, spec, inputs, batch=batch) if streamed else None)
        for part in slices(single, inputs, spec):
            piece = walk.timed(part, depth=spec.act_queue_depth, threads=recount.threads)
            piece = replace(piece, turn=turn, passes=len(layer.passes), sample_of=samples.start + piece.sample_of)
            piece = _placed(piece, recount.activities[use], at=at, last=turn == len(layer.passes) - 1)
            yield piece
            at = piece.stop - 1


def _placed(piece: Piece, activity: Activity, *, at: int, last: bool) -> Piece:
    """Move a piece, whose products each began at cycle 1, behind cycle ``at``; ``last``: it is of the last pass."""
    counts, of = activity.counts, piece.sample_of
    begins, ends = piece.numbers == 0, piece.numbers == piece.each - 1
    # A sample's reload precedes its first pass, and the rest follows its last.
    ahead = activity.reload_cycles * begins * (piece.turn == 0)
    behind = [counts[name][of] * ends * last for name in ("act_batch_cycles", "bus_wait_cycles")]
    lasts = ahead + piece.cycles + sum(behind)
    offsets = at + np.cumsum(lasts) - lasts + ahead
    loads = piece.loads.copy()
    loads[:, :2] += offsets[loads[:, 2]][:, None]
    stops = offsets + piece.cycles + 1
    waits = [
        _waits(first, length, why)
        for why, (first, length) in enumerate(
            ((offsets + 1 - ahead, ahead), (stops, behind[0]), (stops + behind[0], behind[1]))
        )
    ]
    return replace(
        piece,
        offsets=offsets,
        loads=loads,
        waits=np.concatenate(waits),
        arguments=(*piece.arguments[:-1], offsets),
        scanner=(*piece.scanner[:-1], offsets),
    )


def _waits(first: Cycles, length: Cycles, why: int) -> Cycles:
    some = np.flatnonzero(length)
    return np.column_stack((first[some], first[some] + length[some], some, np.full(len(some), why)))


def _arriving(layer: EncodedLayer, spec: AcceleratorSpec, inputs: LayerTrace, *, batch: int) -> Arriving:
    return Arriving(layer, spec, rows=batch * inputs.products, samples=batch)


class _Walk:
    """One walk over the products of one pass; what has come over the bus is carried from slice to slice."""

    def __init__(
        self, layer: EncodedLayer, inputs: LayerTrace, spec: AcceleratorSpec, *, arriving: Arriving | None
    ) -> None:
        self.layer, self.inputs, self.spec, self.arriving = layer, inputs, spec, arriving
        self.encoding = layer.passes[0]
        self.levels = _levels(layer)
        self.seen = np.full(len(self.encoding.pointers), -1, np.int64)

    def timed(self, part: Slice, *, depth: int, threads: int | None) -> Piece:
        """Time a slice, and put together what the kernels take of it."""
        pattern, encoding = part.pattern, part.encoding
        stream, arrivals = (None, None) if self.arriving is None else self.arriving.next(part)
        schedule = Schedule.of(pattern)
        timing = queue_pass(
            encoding=encoding,
            pattern=pattern,
            act_queue_depth=depth,
            threads=threads,
            stream=stream,
            arrivals=arrivals,
            schedule=schedule,
        )
        begins, ends = columns_of(encoding, pattern)
        # A copy: kernels are compiled for read-only and for writable arrays apart.
        scan_rows = np.empty(pattern.products, np.int64)
        scan_rows[:] = pattern.scan_rows if isinstance(pattern, Ranges) else encoding.scan_rows
        steps, scan_ends = _scan(part, schedule, scan_rows)
        low, high = self._rows_met(part)
        blank = np.zeros(pattern.products, np.int64)
        arguments = (
            *(pattern.starts, begins, ends, steps, self._labels(part), low, high),
            *(encoding.pointers, encoding.bases, self.levels, schedule.sent, schedule.arrivals),
            *(timing.cycles, scan_rows, blank),
        )
        strips = self._strips()
        each = self.inputs.products if strips is None else len(strips)
        numbers = (part.start + np.arange(pattern.products)) % each
        loads: Cycles = NOTHING[:, :3]
        if isinstance(timing, StreamTiming):
            assert stream is not None
            loads = self._loads(part, (begins, ends), stream, schedule=schedule, bus=timing.bus)
        return Piece(
            turn=0,
            passes=1,
            unit="product" if strips is None else "strip",
            sample_of=part.sample_of,
            numbers=numbers,
            offsets=blank,
            cycles=timing.cycles,
            each=each,
            loads=loads,
            waits=NOTHING[:, :4],
            arguments=arguments,
            scanner=(pattern.starts, steps, schedule.sent, scan_ends, blank),
        )

    def _strips(self) -> Any:
        scatter, size = self.layer.scatter, self.inputs.size
        if scatter is None:
            return None
        return visits_of(scatter, self.layer.channels_a_pe[0], size=(size[0], size[1]), spec=self.spec)

    def _rows_met(self, part: Slice) -> tuple[Cycles, Cycles]:
        """int64 (K,) twice: the kernel rows whose outputs lie in the map, of each activation; all where none is cut."""
        pattern, strips = part.pattern, self._strips()
        count = len(pattern.positions)
        if strips is None:
            return np.zeros(count, np.int64), np.ones(count, np.int64)
        assert isinstance(pattern, Ranges)
        pixels = pattern.positions // (pattern.rows_a_pixel * part.encoding.n_pe)
        low, high = np.empty(count, np.int64), np.empty(count, np.int64)
        for s in range(pattern.products):
            own, strip = slice(pattern.starts[s], pattern.starts[s + 1]), strips[s % len(strips)]
            low[own], high[own] = strip.low[pixels[own]], strip.high[pixels[own]]
        return low, high

    def _labels(self, part: Slice) -> Cycles:
        """int64 (K,): the layer's input that each activation is; of strips, the input channel."""
        pattern, encoding = part.pattern, part.encoding
        positions = pattern.positions.astype(np.int64)
        if isinstance(pattern, Ranges):
            channels: Cycles = positions % (pattern.rows_a_pixel * encoding.n_pe)
            return channels
        return np.where(positions < encoding.inputs, encoding.column_start + positions, BIAS)

    def _loads(
        self, part: Slice, columns: tuple[Any, Any], stream: Stream, *, schedule: Schedule, bus: Cycles
    ) -> Cycles:
        """int64 (M, 3): first and last cycle of each transfer, the latter with one more, and its product."""
        pattern = part.pattern
        products = np.arange(pattern.products)
        if stream.whole:
            # All that comes for a product is known when it begins: told as one transfer from its first cycle on.
            comes = np.flatnonzero(bus)
            return np.column_stack((np.ones(len(comes), np.int64), 1 + bus[comes], comes))
        # The samples of a block are one turn: what has room comes once.
        turns = np.zeros_like(products) if stream.held else part.start + products
        beats = np.zeros(len(pattern.positions), np.int64)
        kernels.new_columns(pattern.starts, *columns, turns, stream.cycles, self.seen, beats)
        new, there = np.flatnonzero(beats), schedule.arrivals
        owners = np.repeat(products, pattern.broadcasts)
        return np.column_stack((there[new] - beats[new] + 1, there[new] + 1, owners[new]))


def _levels(layer: EncodedLayer) -> NDArray[np.int16]:
    """int16 (E,): the kernel row within its phase of each entry, 0 without strips, -1 of padding.

    Of no length where all entries write.
    """
    encoding, scatter = layer.passes[0], layer.scatter
    if scatter is None:
        padding = encoding.padding.any()
        return frozen(np.where(encoding.codes == 0, -1, 0) if padding else [], np.int16)
    rows = np.empty(len(encoding.codes), np.int64)
    decoding.expand_entries(encoding.bases, encoding.pointers, encoding.codes, encoding.runs, rows)
    height = (encoding.row_stop - encoding.row_start) // scatter.depth
    return frozen(np.where(rows < 0, -1, rows // max(1, height)), np.int16)


def _scan(part: Slice, schedule: Schedule, scan_rows: Cycles) -> tuple[Cycles, Cycles]:
    """Dead cycles ahead of each broadcast, int64 (K,), and the last cycle of each product's scan, int64 (N,)."""
    pattern, n_pe = part.pattern, part.encoding.n_pe
    row, lane = np.divmod(pattern.positions.astype(np.int64), n_pe)
    steps = np.diff(row, prepend=0)
    # From the last lane the step to the next row is free.
    steps[1:] -= (steps[1:] > 0) & (lane[:-1] == n_pe - 1)
    some = pattern.broadcasts > 0
    first, last = pattern.starts[:-1][some], pattern.starts[1:][some] - 1
    steps[first] = row[first]
    ends = 1 + scan_rows
    ends[some] = schedule.sent[last] + scan_rows[some] - row[last] - (lane[last] == n_pe - 1)
    return steps, ends


def _ends(some: range) -> Cycles:
    return np.array((some.start, some.stop), np.int64)
