"""A run told again as a `Timeline`: which layer ran when on which samples, as far as a window and a limit reach.

Comes in: layers that kept which inputs were non-zero, a window of cycles and PEs. Goes out: a `Timeline`. Called by
`eie.Result.timeline`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.results.layer import LayerResult
from eie.results.timeline import Timeline
from eie.results.told import LIMIT, TRACKS
from eie.show.numbers import count
from eie.simulator.recount import Recount
from eie.simulator.replay import WAITS, Piece, pieces

# Products whose spans are counted at a time: little is counted in vain where the limit is reached.
STRIDE = 256
# A stop that nobody has stated: more cycles than any run takes.
ENDLESS = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Use:
    """A use of a layer: its name, the layer's place, and what it is told again from."""

    name: str
    layer: int
    recount: Recount


@dataclass(frozen=True)
class Block:
    """One use over some samples: it begins in cycle ``start``."""

    use: Use
    samples: slice
    start: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Order:
    """All blocks in order of time: a batch goes through a layer before the next begins.

    ``starts`` (groups x uses + 1,): the first cycle of each, from 1 on, and the one behind the last.
    """

    uses: tuple[Use, ...]
    samples: int
    batch: int
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, layers: Sequence[LayerResult], *, batch: int, names: Sequence[str]) -> Order:
        """Put the uses of layers in the order of ``names``; layer by layer where those are others.

        Raises
        ------
        EieError
            If nothing is kept to tell a layer from.
        """
        known = {use.name: use for place, layer in enumerate(layers) for use in _uses(place, layer)}
        # Recorded inputs may be of other runs of a layer than the graph has.
        uses = tuple(known[name] for name in (names if set(names) == set(known) else known))
        cycles = np.stack([use.recount.activities[use.name].total_cycles for use in uses])
        groups = np.add.reduceat(cycles, np.arange(0, cycles.shape[1], batch), axis=1)
        starts = np.concatenate(([1], 1 + np.cumsum(groups.T.reshape(-1))))
        return cls(uses=uses, samples=cycles.shape[1], batch=batch, starts=starts)

    @property
    def total(self) -> int:
        """Cycles of the run."""
        return int(self.starts[-1]) - 1

    def within(self, cycles: range) -> Iterator[Block]:
        """Go through the blocks that have a cycle in the window."""
        first = int(np.searchsorted(self.starts, cycles.start, "right")) - 1
        for number in range(first, int(np.searchsorted(self.starts[:-1], cycles.stop))):
            group, use = divmod(number, len(self.uses))
            samples = slice(group * self.batch, min((group + 1) * self.batch, self.samples))
            yield Block(self.uses[use], samples, int(self.starts[number]))


def _uses(place: int, layer: LayerResult) -> list[Use]:
    recount = layer.recount
    if not isinstance(recount, Recount):
        raise EieError(
            f"layer {layer.name!r}: keep_outputs=False kept nothing to tell a timeline from: "
            "ask with simulate(..., keep_patterns=True)"
        )
    return [Use(name=name, layer=place, recount=recount) for name in recount.activities]


def told(
    network: str,
    order: Order,
    layers: Sequence[LayerResult],
    *,
    cycles: range | None = None,
    pes: range | None = None,
    limit: int = LIMIT,
) -> Timeline:
    """Tell a window of a run; parameters as of `eie.Result.timeline`."""
    spec = layers[0].spec
    cycles = _within("cycles", cycles, range(1, order.total + 1), has=f"the run takes {count(order.total)} cycles")
    pes = _within("pes", pes, range(spec.n_pe), has=f"the machine has {spec.n_pe} PEs")
    if limit < 1:
        raise EieError(f"limit={limit}: must be >= 1")
    writing = _Writing(cycles, pes, limit=limit)
    for block in order.within(cycles):
        if not writing.add(block):
            break
    if writing.stop == cycles.start:
        raise EieError(f"limit={limit:,}: one cycle of {len(pes)} PEs has more events: raise it, or name fewer PEs")
    return Timeline(
        network=network,
        spec=spec,
        layers=tuple(layer.name for layer in layers),
        cycles=range(cycles.start, writing.stop),
        total=order.total,
        pes=pes,
        **writing.rows(),
        cut=_cut(writing.stop, cycles, limit) if writing.stop < cycles.stop else "",
    )


def _cut(stop: int, cycles: range, limit: int) -> str:
    return (
        f"cut behind cycle {stop - 1:,} of {cycles.start:,} to {cycles.stop - 1:,}, since a file holds {limit:,} "
        "events: a later window or fewer PEs show the rest"
    )


def _within(name: str, some: range | None, whole: range, *, has: str) -> range:
    """Return a window with what lies behind the run's last cycle taken off.

    Raises
    ------
    EieError
        If it is empty, or begins or ends where nothing is.
    """
    if some is None:
        return whole
    stated = f"{name}={some.start}:{some.stop if some.stop < ENDLESS else ''}"
    if some.step != 1 or some.start >= some.stop:
        raise EieError(f"{stated}: must be the first and the one behind the last, as in 0:8")
    # A run may end where it will; how many PEs there are, one knows.
    if some.start not in whole or (name == "pes" and some.stop > whole.stop):
        raise EieError(f"{stated}: {has}: must lie within {whole.start}:{whole.stop}")
    return range(some.start, min(some.stop, whole.stop))


class _Writing:
    """A timeline as it grows, block by block; ``stop`` moves forward if it gets too large."""

    def __init__(self, cycles: range, pes: range, *, limit: int) -> None:
        self.cycles, self.pes = cycles, pes
        self.stop, self.left = cycles.stop, limit
        self.parts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ("spans", "layer_of", "queues")}
        self.scanner: list[NDArray[np.int64]] = []
        self.tracks: dict[str, list[tuple[int, int, str]]] = {name: [] for name in TRACKS}

    @property
    def window(self) -> range:
        """What is left of it."""
        return range(self.cycles.start, self.stop)

    def add(self, block: Block) -> bool:
        """Tell of one block; False if the limit is reached in it."""
        use, stop = block.use, self.stop
        recount = use.recount
        lasts = int(recount.activities[use.name].total_cycles[block.samples].sum())
        self.mark("layers", block.start, block.start + lasts, name=use.name)
        for piece in pieces(recount, use.name, block.samples, at=block.start - 1):
            self.add_piece(use, piece)
            # What follows lies behind the window.
            if self.stop < stop or piece.stop >= self.stop:
                break
        return self.stop == stop

    def add_piece(self, use: Use, piece: Piece) -> None:
        """Tell of the products that lie in the window, as many as the limit leaves room for."""
        begins, stops = piece.begins, piece.stops
        first = int(np.searchsorted(stops, self.cycles.start, "right"))
        last = int(np.searchsorted(begins, self.stop))
        for start in range(first, last, STRIDE):
            products = range(start, min(start + STRIDE, last))
            events = np.cumsum(self.events(piece, products, self.window))
            fit = int(np.searchsorted(events, self.left, "right"))
            cut = fit < len(products)
            if cut:
                products = range(start, start + fit + 1)
                left = self.left - (int(events[fit - 1]) if fit else 0)
                self.stop = self.last_fitting(piece, products[-1], left)
            self.left -= int(self.events(piece, products, self.window).sum())
            self.write(use, piece, products)
            if cut:
                return

    def last_fitting(self, piece: Piece, product: int, left: int) -> int:
        """Return the last cycle ahead of which a product has no more events than are ``left``."""
        low, high = max(int(piece.begins[product]), self.cycles.start), min(int(piece.stops[product]), self.stop)
        while low < high:
            middle = (low + high + 1) // 2
            window = range(self.cycles.start, middle)
            if int(self.events(piece, range(product, product + 1), window)[0]) <= left:
                low = middle
            else:
                high = middle - 1
        return low

    def events(self, piece: Piece, products: range, window: range) -> NDArray[np.int64]:
        """int64 (products,): how many events tell of each in a window, at most."""
        counted = piece.count(products, self.pes, window)
        # The scanner's are spans and, where it broadcasts, two changes of a counter.
        events = counted[:, 0] + counted[:, 2] + 3 * counted[:, 3]
        for rows, weight in ((piece.waits, len(self.pes) + 1), (piece.loads, 1)):
            some = rows[(rows[:, 0] < window.stop) & (rows[:, 1] > window.start), 2]
            events += weight * np.bincount(some, minlength=len(piece.cycles))[products.start : products.stop]
        # Layer, sample and product.
        return events + 3 * (piece.begins[products.start : products.stop] < window.stop)

    def write(self, use: Use, piece: Piece, products: range) -> None:
        """Keep the spans of some products."""
        made = piece.spans(products, self.pes, self.window)
        idle = piece.idle(self.pes, self.window, products)
        spans = np.concatenate((made.pes, idle))
        self.parts["spans"].append(spans)
        self.parts["layer_of"].append(np.full(len(spans), use.layer))
        self.parts["queues"].append(made.queues)
        self.scanner.append(made.scanner[:, 1:4])
        for first, stop, of, why in piece.waits.tolist():
            if of in products:
                self.mark("loads", first, stop, name=WAITS[why])
        for first, stop, of in piece.loads.tolist():
            if of in products:
                self.mark("loads", first, stop, name="weights")
        for p in products:
            begin, stop = int(piece.begins[p]), int(piece.stops[p])
            self.mark("samples", begin, stop, name=f"sample {piece.sample_of[p]}", joined=True)
            if piece.each == piece.passes == 1:
                continue
            passed = f"pass {piece.turn}, " if piece.passes > 1 else ""
            self.mark("products", begin, stop, name=f"{passed}{piece.unit} {piece.numbers[p]}")

    def mark(self, track: str, first: int, stop: int, *, name: str, joined: bool = False) -> None:
        """Put a stretch on a track; ``joined``: with the last one, if that goes on."""
        stretches = self.tracks[track]
        if joined and stretches and stretches[-1][1:] == (first, name):
            first = stretches.pop()[0]
        stretches.append((first, stop, name))

    def rows(self) -> dict[str, Any]:
        """Return all of it, clipped to what is left of the window."""
        made: dict[str, Any] = {name: np.concatenate(rows) for name, rows in self.parts.items()}
        made["scanner"] = np.concatenate(self.scanner)
        made["tracks"] = {
            name: tuple(
                (max(first, self.cycles.start), min(stop, self.stop), text)
                for first, stop, text in stretches
                if first < self.stop and stop > self.cycles.start
            )
            for name, stretches in self.tracks.items()
        }
        return made
