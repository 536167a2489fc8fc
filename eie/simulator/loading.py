"""The event engine's way from DRAM to the PEs: a look-ahead scanner, a buffer of two halves and a bus.

Comes in: a pass, its `Stream` and the scan positions of one input's non-zero activations. Goes out: columns, one after
the other, that the pointer units then find; bus cycles and bits. Run by `events`, whose two ticks a cycle it keeps:
registers are looked at in the first and change in the second.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from eie.compiler.encode import Encoding
from eie.compiler.stream import Stream
from eie.simulator.one_product import Product

Process = Generator[Any, None, None]


class Loading:
    """One input's columns on their way.

    ``product`` says which of them are there already; ``moved`` is called in every cycle after the bus has moved.
    """

    def __init__(
        self,
        *,
        env: simpy.Environment,
        encoding: Encoding,
        stream: Stream,
        product: Product,
        moved: Callable[[], None],
    ) -> None:
        self.env = env
        self.stream = stream
        self.moved = moved
        self.n_pe, self.scan_rows = encoding.n_pe, product.scan_rows
        self.positions, self.takes = deque(product.positions), deque(product.takes)
        self.active = {column for take in product.takes for column in take}
        self.loads = product.loads
        self.entries = np.diff(encoding.pointers, axis=0).astype(np.int64)
        # The buffer: the half that is being filled, by number of its block; which block a column lies in, and how many
        # columns each block still has to hand out, over all PEs.
        self.block = 0
        self.fill = np.zeros(self.entries.shape[1], np.int64)
        self.block_of: dict[int, int] = {}
        self.unread = Counter[int]()
        # The bus: what to ask for next, what has been asked for and when it is due, what has come.
        self.wanted: deque[int] = deque()
        self.requests: deque[tuple[int, int]] = deque()
        self.on_bus: int | None = None
        self.beats_left = self.beats_owed = 0
        self.arrived = set(product.there)
        if stream.whole and not self.loads:
            self.arrived = set(self.active)
        # What has been wanted once is not wanted again: several activations of a strip take the same columns.
        self.known = set(self.arrived)
        self.bus_cycles = self.bits = 0

    @property
    def cycle(self) -> int:
        """The cycle that is running, from 1."""
        return int(self.env.now) // 2 + 1

    @property
    def done(self) -> bool:
        """Whether nothing is to come any more, and the bus has been free for as long as the first half took."""
        return not (self.wanted or self.requests or self.beats_left or self.beats_owed)

    def start(self) -> None:
        """Set the units to work."""
        if self.stream.whole:
            if self.loads:
                self.fill_first_half()
        else:
            self.env.process(self.look_ahead())
        self.env.process(self.buffer())
        self.env.process(self.bus())

    def fill_first_half(self) -> None:
        """All columns are known beforehand: one half of them came while the layer before this one was at work.

        In turn this layer owes the one behind it as many free cycles of the bus.
        """
        self.wanted.extend(range(len(self.entries)))
        while self.wanted and self.fits(self.wanted[0]):
            column = self.wanted.popleft()
            self.place(column)
            self.receive(column)
            self.beats_owed += int(self.stream.cycles[column])

    def look_ahead(self) -> Process:
        """Scan like the scanner, without ever waiting for a queue, and say which columns will be read."""
        yield self.env.timeout(1)  # row 0 is loaded in cycle 1: from its end on, non-zeros are known
        for row in range(self.scan_rows):
            position = -1
            while self.positions and self.positions[0] // self.n_pe == row:
                position = self.positions.popleft()
                new = [column for column in self.takes.popleft() if column not in self.known]
                self.known.update(new)
                self.wanted.extend(new)
                yield self.env.timeout(2)
            # the same dead cycles: none behind the last lane, which -1 would be as well
            if position % self.n_pe != self.n_pe - 1 or position < 0:
                yield self.env.timeout(2)

    def buffer(self) -> Process:
        """Send requests in order, each as soon as there is room for what it brings."""
        while True:
            while self.wanted and (self.fits(self.wanted[0]) or self.turn()):
                column = self.wanted.popleft()
                self.place(column)
                self.requests.append((self.cycle + self.stream.latency_cycles, column))
            yield self.env.timeout(2)

    def fits(self, column: int) -> bool:
        """Whether every PE has room for its entries in the half that is being filled."""
        return bool((self.fill + self.entries[column]).max() <= self.stream.half)

    def turn(self) -> bool:
        """Go on with the other half, if the block in it has left every PE; or beside both, where all has room."""
        if self.unread[self.block - 1] and not self.stream.held:
            return False
        self.block += 1
        self.fill[:] = 0
        return True

    def place(self, column: int) -> None:
        """Take room for a column in the half that is being filled."""
        self.fill += self.entries[column]
        self.block_of[column] = self.block
        if column in self.active:
            self.unread[self.block] += self.n_pe

    def left(self, take: range) -> None:
        """One PE's pointer unit is through with an activation's columns."""
        # What was there before lies in no block.
        for column in take:
            if column in self.block_of:
                self.unread[self.block_of[column]] -= 1

    def bus(self) -> Process:
        """Bring one column after the other, none before it is due."""
        while True:
            yield self.env.timeout(1)
            if self.on_bus is None and self.requests and self.requests[0][0] <= self.cycle:
                _, self.on_bus = self.requests.popleft()
                self.beats_left = int(self.stream.cycles[self.on_bus])
            if self.on_bus is not None:
                self.beats_left -= 1
                if not self.beats_left:
                    self.receive(self.on_bus)
                    self.on_bus = None
            elif self.beats_owed:
                self.beats_owed -= 1
            self.moved()
            yield self.env.timeout(1)

    def receive(self, column: int) -> None:
        """A column is complete: pointer units see it from the next cycle on."""
        self.arrived.add(column)
        self.bus_cycles += int(self.stream.cycles[column])
        self.bits += int(self.stream.bits[column])
