"""What goes into both timing engines, and what comes out of them.

`Pattern` lists which activations a pass broadcasts, the only part of the data that timing depends on; `PassTiming` is
what an engine counted. `eie.simulator.layer` makes the one and adds up the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account
from eie.compiler.encode import Encoding
from eie.kernels import streams
from eie.kernels import timing as kernels
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import frozen


@dataclass(frozen=True, eq=False)
class Pattern:
    """Non-zero activations of a batch of products, as scan positions.

    Attributes
    ----------
    starts
        int64 (N + 1,): product s owns ``positions[starts[s] : starts[s + 1]]``.
    positions
        int32: ascending within a product. Position j is scan row j // P, lane j % P. A bias adds the first position
        behind the last input row; the column it stands for is ``min(position, inputs)``.
    """

    starts: NDArray[np.int64]
    positions: NDArray[np.int32]

    @property
    def products(self) -> int:
        """N, matrix-vector products."""
        return len(self.starts) - 1

    @property
    def broadcasts(self) -> NDArray[np.int64]:
        """int64 (N,): activations broadcast, bias included."""
        return self.starts[1:] - self.starts[:-1]

    @classmethod
    def of(cls, inputs: LayerTrace, encoding: Encoding, start: int = 0, stop: int | None = None) -> Pattern:
        """List the scan positions of ``inputs``, or of rows start..stop-1, in the columns of one pass."""
        bits = frozen(inputs.bits[start:stop], np.uint8)
        starts = np.zeros(len(bits) + 1, np.int64)
        positions = np.empty(len(bits) * (encoding.inputs + 1) + 1, np.int32)
        bias_position = encoding.bias_position if encoding.has_bias else -1
        kernels.list_positions(bits, encoding.column_start, encoding.inputs, bias_position, starts, positions)
        return cls(frozen(starts, np.int64), frozen(positions[: starts[-1]].copy(), np.int32))


@dataclass(frozen=True, eq=False)
class Arrivals:
    """What has to be brought for each product of a pattern; bool.

    ``comes``, for each of its positions: the column is not there yet. ``loads`` (N,): where all columns come, whether
    they come for this product.
    """

    comes: NDArray[np.bool_]
    loads: NDArray[np.bool_]

    @classmethod
    def all(cls, pattern: Pattern) -> Arrivals:
        """Bring everything for every product anew."""
        return cls(np.ones(len(pattern.positions), np.bool_), np.ones(pattern.products, np.bool_))

    @classmethod
    def first_uses(cls, pattern: Pattern, inputs: int, groups: NDArray[np.int64], seen: NDArray[np.int64]) -> Arrivals:
        """Bring each column once for a group of products.

        Parameters
        ----------
        inputs
            Input activations of the pass; a position beyond them is the bias.
        groups
            int64 (N,): the group of each product, ascending.
        seen
            int64 (columns + 1,): what it was called with before for the products ahead of these; -1 at first.
        """
        arrivals = cls.all(pattern)
        streams.mark_first_uses(pattern.starts, pattern.positions, groups, inputs, seen, arrivals.comes, arrivals.loads)
        return arrivals


@dataclass(frozen=True, eq=False, kw_only=True)
class Schedule:
    """When what a pattern lists was broadcast, and when its columns were there; int64, for each of its positions.

    ``sent``: W[k] of docs/cycle-model.md; ``arrivals``: A[k], 0 where weights are in place. From these follows what
    control and PEs did in any cycle.
    """

    sent: NDArray[np.int64]
    arrivals: NDArray[np.int64]

    @classmethod
    def of(cls, pattern: Pattern) -> Schedule:
        """Make room for a walk over a pattern to fill."""
        sent, arrivals = np.zeros((2, len(pattern.positions)), np.int64)
        return cls(sent=sent, arrivals=arrivals)


# What a walk takes that need not note anything down.
UNNOTED = Schedule(sent=np.empty(0, np.int64), arrivals=np.empty(0, np.int64))


@dataclass(frozen=True, eq=False, kw_only=True)
class QueueTiming:
    """What depends on the queues, for one pass over N products; int64 (N,), ``free`` (N, P).

    ``cycles``: to the last write; ``stall``: the broadcast waited for a queue; ``dead``: the scanner handed out
    nothing; ``free``: the cycle from which on a PE has nothing left to issue.
    """

    cycles: NDArray[np.int64]
    stall: NDArray[np.int64]
    dead: NDArray[np.int64]
    free: NDArray[np.int64]

    @classmethod
    def blank(cls, products: int, n_pe: int) -> QueueTiming:
        """Make zeroed arrays for an engine to fill."""
        cycles, stall, dead = np.zeros((3, products), np.int64)
        return cls(cycles=cycles, stall=stall, dead=dead, free=np.zeros((products, n_pe), np.int64))


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamTiming(QueueTiming):
    """The same where the weights arrive meanwhile; int64 (N,), ``free`` and ``load`` (N, P).

    ``load``: a PE had the activation and waited for its column; ``bus``: cycles in which something was on the bus;
    ``dram_bits``: what came over it, in whole bursts.
    """

    load: NDArray[np.int64]
    bus: NDArray[np.int64]
    dram_bits: NDArray[np.int64]

    @classmethod
    def blank(cls, products: int, n_pe: int) -> StreamTiming:
        """Make zeroed arrays for an engine to fill."""
        flat, per_pe = ("cycles", "stall", "dead", "bus", "dram_bits"), ("free", "load")
        return cls(**_zeros(flat, (products,)), **_zeros(per_pe, (products, n_pe)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Tally:
    """What does not depend on the queues, for one pass over N products; int64 (N,), the last two (N, P).

    ``reads``: sparse-matrix rows; ``entries`` and, among them, ``padding``; per PE ``issue`` (an entry left) and
    ``empty`` (a column without entries).
    """

    reads: NDArray[np.int64]
    entries: NDArray[np.int64]
    padding: NDArray[np.int64]
    issue: NDArray[np.int64]
    empty: NDArray[np.int64]

    @classmethod
    def blank(cls, products: int, n_pe: int) -> Tally:
        """Make zeroed arrays for an engine to fill."""
        reads, entries, padding = np.zeros((3, products), np.int64)
        issue, empty = np.zeros((2, products, n_pe), np.int64)
        return cls(reads=reads, entries=entries, padding=padding, issue=issue, empty=empty)


@dataclass(frozen=True, eq=False, kw_only=True)
class PassTiming:
    """What an engine counted for one pass over N products on P PEs; int64 (N,), the last four (N, P).

    ``cycles``: to the last write; ``stall``: the broadcast waited for a queue; ``dead``: the scanner handed out
    nothing; ``reads``: sparse-matrix rows; ``entries`` and, among them, ``padding``; ``bus`` (cycles) and ``dram_bits``
    of weights that were not in place; per PE ``issue`` (an entry left), ``empty`` (a column without entries), ``load``
    (an activation there and its column not) and ``starved`` (nothing to do before its last column).
    """

    FLAT: ClassVar[tuple[str, ...]] = ("cycles", "stall", "dead", "reads", "entries", "padding", "bus", "dram_bits")
    PER_PE: ClassVar[tuple[str, ...]] = ("issue", "empty", "load", "starved")

    cycles: NDArray[np.int64]
    stall: NDArray[np.int64]
    dead: NDArray[np.int64]
    reads: NDArray[np.int64]
    entries: NDArray[np.int64]
    padding: NDArray[np.int64]
    bus: NDArray[np.int64]
    dram_bits: NDArray[np.int64]
    issue: NDArray[np.int64]
    empty: NDArray[np.int64]
    load: NDArray[np.int64]
    starved: NDArray[np.int64]

    @classmethod
    def blank(cls, products: int, n_pe: int) -> Self:
        """Make zeroed arrays for an engine to fill."""
        return cls(**_zeros(cls.FLAT, (products,)), **_zeros(cls.PER_PE, (products, n_pe)))

    @classmethod
    def of(cls, queue: QueueTiming, tally: Tally) -> PassTiming:
        """Put both halves together: a PE that is free and has neither issued nor waited for a column has starved."""
        starved = queue.free - tally.issue - tally.empty
        if isinstance(queue, StreamTiming):
            starved -= queue.load
            load, bus, dram_bits = queue.load, queue.bus, queue.dram_bits
        else:
            # Weights that were in place came over no bus.
            load, bus = np.zeros(queue.free.shape, np.int64), np.zeros(len(queue.cycles), np.int64)
            dram_bits = bus
        return cls(
            cycles=queue.cycles,
            stall=queue.stall,
            dead=queue.dead,
            reads=tally.reads,
            entries=tally.entries,
            padding=tally.padding,
            bus=bus,
            dram_bits=dram_bits,
            issue=tally.issue,
            empty=tally.empty,
            load=load,
            starved=starved,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class EventTiming(PassTiming):
    """What the event engine counts: all of that, and what PEs idled for, ``waits_*``, and padding; int64 (N, P)."""

    PER_PE: ClassVar[tuple[str, ...]] = (*PassTiming.PER_PE, "waits_broadcast", "waits_stall", "pads")

    waits_broadcast: NDArray[np.int64]
    waits_stall: NDArray[np.int64]
    pads: NDArray[np.int64]

    @property
    def account(self) -> Account:
        """The part of it that the fast engine counts on demand."""
        return Account(broadcast=self.waits_broadcast, stall=self.waits_stall, padding=self.pads)


def _zeros(names: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, NDArray[np.int64]]:
    return {name: np.zeros(shape, np.int64) for name in names}
