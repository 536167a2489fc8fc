"""One product as the event engine walks it: what is scanned, which columns each activation takes, which are there.

Comes in: a pass's `Pattern` and how weights arrive. Goes out: frozen `Product`s, one after the other. Read by `events`
and `loading`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eie.compiler.encode import Encoding
from eie.simulator.records import Arrivals, Pattern
from eie.simulator.strips import Ranges, Turns


@dataclass(frozen=True, eq=False, kw_only=True)
class Product:
    """What one product, or one strip, scans.

    Attributes
    ----------
    positions
        Of its non-zero activations, ascending.
    takes
        The columns that each of them takes: one, or those of a strip's kernel.
    scan_rows
        Rows to scan.
    there
        Columns that came for a product before it.
    outside
        Entries, over all PEs, that write nothing since their outputs lie outside the map.
    loads
        Whether all columns come for this product, where all do.
    """

    positions: Sequence[int]
    takes: Sequence[range]
    scan_rows: int
    there: frozenset[int]
    loads: bool
    outside: int = 0


def products(encoding: Encoding, pattern: Pattern, arrivals: Arrivals | Turns | None) -> Iterator[Product]:
    """Go through the products of a pass in order."""
    if isinstance(pattern, Ranges):
        turns = arrivals if isinstance(arrivals, Turns) else Turns.each(pattern, encoding)
        yield from _strips(pattern, turns)
        return
    comes = arrivals if isinstance(arrivals, Arrivals) else Arrivals.all(pattern)
    for s in range(pattern.products):
        own = slice(pattern.starts[s], pattern.starts[s + 1])
        positions = pattern.positions[own].tolist()
        # The bias scans as the first lane of a row of its own, which may lie beyond its column's number.
        columns = [min(position, encoding.inputs) for position in positions]
        yield Product(
            positions=positions,
            takes=[range(column, column + 1) for column in columns],
            scan_rows=encoding.scan_rows,
            there=frozenset(column for column, new in zip(columns, comes.comes[own], strict=True) if not new),
            loads=bool(comes.loads[s]),
        )


def _strips(pattern: Ranges, turns: Turns) -> Iterator[Product]:
    for s in range(pattern.products):
        own = slice(pattern.starts[s], pattern.starts[s + 1])
        takes = [range(*ends) for ends in zip(pattern.begins[own].tolist(), pattern.ends[own].tolist(), strict=True)]
        turn = turns.turns[s]
        there = np.flatnonzero(turns.seen[:-1] == turn)
        loads = bool(turns.seen[-1] != turn)
        turns.seen[-1] = turn
        for take in takes:
            turns.seen[take.start : take.stop] = turn
        yield Product(
            positions=pattern.positions[own].tolist(),
            takes=takes,
            scan_rows=int(pattern.scan_rows[s]),
            there=frozenset(there.tolist()),
            loads=loads,
            outside=int(pattern.outside[s]),
        )
