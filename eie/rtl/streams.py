"""A streamed layer as hardware: which of the two buffers its PEs have, and what the bench's bus is to play.

Comes in: a layer that its program's memory plan streams, and raw inputs. Goes out: a frozen `Streaming`. Read by `work`
and `design`.

The sparse-matrix SRAM is a buffer of rows. Where all columns come, a row lies where its number modulo the depth says;
where active ones do, behind the row that came before it; where what has come stays, as in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.encoded import EncodedLayer
from eie.compiler.program import Program
from eie.compiler.stream import Stream
from eie.errors import ProgramError
from eie.kernels.streams import mark_blocks
from eie.model.matrix import frozen
from eie.model.layer_trace import LayerTrace
from eie.simulator.records import Arrivals, Pattern
from eie.simulator.turns import in_parts
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Streaming:
    """How a layer's columns come.

    Attributes
    ----------
    stream
        Its columns on the bus.
    turn
        Products for which it is loaded once.
    depth
        Rows of a PE's buffer.
    """

    stream: Stream
    turn: int
    depth: int

    @property
    def queued(self) -> bool:
        """Whether rows lie one behind the other, as they came."""
        return not (self.stream.held or self.stream.whole)

    @classmethod
    def of(cls, layer: EncodedLayer, spec: AcceleratorSpec, *, inputs: NDArray[np.int64], turn: int = 1) -> Streaming:
        """Choose the buffer for products of raw inputs (N, inputs), so many a turn.

        Raises
        ------
        ProgramError
            If the bus is faster than the SRAMs it fills.
        """
        encoding = layer.passes[0]
        stream = Stream.of(encoding, spec, layer.name, held=turn > 1)
        if stream.whole:
            _check_rates(layer.name, encoding, stream, spec)
        return cls(stream=stream, turn=turn, depth=_depth(encoding, stream, spec=spec, inputs=inputs))

    def arrivals(self, encoding: Encoding, pattern: Pattern) -> Arrivals | None:
        """Return which columns, of a layer or a batch of it, come for each product; None if all come for each."""
        if not self.stream.held:
            return None
        groups = np.arange(pattern.products) // self.turn
        seen = np.full(len(encoding.pointers), -1, np.int64)
        return Arrivals.first_uses(pattern, inputs=encoding.inputs, groups=groups, seen=seen)


def streaming_of(layer: EncodedLayer, program: Program, *, inputs: NDArray[np.int64], turn: int) -> Streaming | None:
    """Return how the weights come of a layer that the program's plan streams; None where they are in place.

    Raises
    ------
    ProgramError
        If a turn of several products does not hold the layer in one part, or as of `Streaming.of`.
    """
    place = program.memory.by_name[layer.name]
    if place.place != "streamed":
        return None
    parts = len(in_parts(layer, place, program.spec).passes) if turn > 1 else 1
    if parts > 1:
        raise ProgramError(
            f"layer {layer.name!r}: its turn of {turn} products takes it in {parts} parts, the hardware has room for "
            "one: more spmat_kib or ptr_kib, or more PEs"
        )
    return Streaming.of(layer, program.spec, inputs=inputs, turn=turn)


def parameters(streaming: Streaming | None, spec: AcceleratorSpec) -> dict[str, int]:
    """Return what config.vh states of the buffer and the bus; zeros where weights are in place."""
    rate = 8 * spec.dram_bytes_per_cycle
    stream = None if streaming is None else streaming.stream
    return {
        "STREAMED": int(stream is not None),
        "WHOLE": int(stream is not None and stream.whole),
        "HELD": int(stream is not None and stream.held),
        "FIFO": int(streaming is not None and streaming.queued),
        # Where what has come stays, an activation carries a mark of whether its column is there.
        "MARKED": int(stream is not None and stream.held),
        "AHEAD": int(stream is not None and not stream.whole),
        "TURN": 1 if streaming is None else streaming.turn,
        "HALF": spec.stream_half_entries,
        "LATENCY": spec.dram_latency_cycles,
        "BURST_BITS": 8 * spec.dram_burst_bytes,
        "RATE_BITS": rate.numerator,
        "RATE_CYCLES": rate.denominator,
        "BUS_POINTER_BITS": spec.ptr_bits,
    }


def _rows(encoding: Encoding, spec: AcceleratorSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(columns, PEs): the first row of the sparse matrix that a column lies in, and the one behind its last."""
    first = encoding.pointers[:-1] // spec.entries_per_row
    behind = -(-encoding.pointers[1:] // spec.entries_per_row)
    empty = encoding.pointers[1:] == encoding.pointers[:-1]
    return first.astype(np.int64), np.where(empty, first, behind).astype(np.int64)


def _check_rates(layer: str, encoding: Encoding, stream: Stream, spec: AcceleratorSpec) -> None:
    """Refuse a bus that brings columns, active or not, faster than a row a cycle and PE can be written.

    Of active columns alone each is read for as long as it was written at least, so they may come as fast as they like.
    """
    first, behind = _rows(encoding, spec)
    # Rows that a PE has still to write behind the cycle in which the last column landed; in that cycle it writes one.
    late = np.full(first.shape[1], -1)
    for column in range(stream.first_half(encoding), len(first)):
        late = np.maximum(late - stream.cycles[column], -1)
        if late.max() > 0:
            raise ProgramError(
                f"layer {layer!r}: column {column} lands before the rows of those in front of it are written, one a "
                "cycle and PE: a smaller dram_gb_per_s, larger spmat_row_bits, or stream=columns"
            )
        late += behind[column] - first[column]


def _depth(encoding: Encoding, stream: Stream, *, spec: AcceleratorSpec, inputs: NDArray[np.int64]) -> int:
    """Rows that the buffer needs."""
    image = max(1, int(-(-encoding.entries_per_pe.max() // spec.entries_per_row)))
    if stream.held:
        return image
    if stream.whole:
        # One more than both halves have: a block may begin within a row.
        return min(image, 2 * stream.half // spec.entries_per_row + 1)
    pattern = Pattern.of(LayerTrace.from_dense(inputs), encoding)
    ends = zip(pattern.starts[:-1], pattern.starts[1:], strict=True)
    active = [np.minimum(pattern.positions[start:stop], encoding.inputs) for start, stop in ends]
    return max(1, *(_queued(encoding, columns.astype(np.int64), stream, spec=spec) for columns in active))


def _queued(encoding: Encoding, columns: NDArray[np.int64], stream: Stream, *, spec: AcceleratorSpec) -> int:
    """Rows that two blocks in succession take at most, of columns that come in this order.

    More than two halves have: a column keeps its place in its row, so rows that lie one behind the other have gaps.
    """
    begins = np.zeros(len(columns), np.bool_)
    fill = np.zeros(encoding.pointers.shape[1], np.int64)
    mark_blocks(frozen(columns, np.int64), encoding.pointers, stream.half, fill, begins)
    first, behind = _rows(encoding, spec)
    starts = np.flatnonzero(begins)
    most = 0
    for start, stop in zip(starts, [*starts[2:], len(columns), len(columns)], strict=False):
        own = columns[start:stop]
        for pe in range(encoding.pointers.shape[1]):
            spans = [np.arange(*span) for span in zip(first[own, pe], behind[own, pe], strict=True)]
            most = max(most, len(np.unique(np.concatenate(spans))) if spans else 0)
    return most
