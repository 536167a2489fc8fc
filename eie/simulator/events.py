"""The event engine: one SimPy process for each hardware unit. Slow, and meant to be read.

Comes in: an `Encoding` and a `Pattern`. Goes out: `PassTiming`, the same record as the fast engine's, and on request a
line of text a cycle.

A cycle is two ticks. In the first every unit looks at the registers as the last cycle left them and decides; in the
second the registers change. So no result depends on the order in which SimPy happens to run the processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.compiler.stream import Stream
from eie.kernels.timing import PIPELINE_CYCLES
from eie.simulator.loading import Loading
from eie.simulator.one_product import Product, products
from eie.simulator.records import Arrivals, PassTiming, Pattern
from eie.simulator.strips import Turns
from eie.spec import AcceleratorSpec

Process = Generator[Any, None, None]
BUBBLE = -1  # what an empty column sends down the pipeline instead of an entry


@dataclass(kw_only=True)
class ProcessingElement:
    """The registers of one PE and what its units counted."""

    codes: NDArray[np.uint8]
    pointers: NDArray[np.int32]
    act_queue: deque[range] = field(default_factory=deque)
    pushed: range | None = None
    popped: bool = False
    fetched: list[int] = field(default_factory=list)
    column: deque[int] = field(default_factory=deque)
    in_flight: deque[tuple[int, bool]] = field(default_factory=deque)
    row_held: int = -1
    spmat_reads: int = 0
    padding: int = 0
    issue: int = 0
    empty: int = 0
    load: int = 0
    free_after: int = 0


class Accelerator:
    """Scanner, broadcast and P processing elements working on one input.

    ``positions`` are the scan positions of its non-zero activations, ``takes`` the columns that each takes, out of
    ``scan_rows``; ``stream`` is None where weights are in place, and ``there`` holds the columns that came before.
    After `run`, the counts are read off.
    """

    def __init__(
        self,
        encoding: Encoding,
        product: Product,
        spec: AcceleratorSpec,
        log: Callable[[str], None] | None = None,
        stream: Stream | None = None,
    ) -> None:
        self.encoding = encoding
        self.product = product
        self.usable_slots = spec.act_queue_depth - 1
        self.entries_per_row = spec.entries_per_row
        self.log = log
        self.env = simpy.Environment()
        self.finished = self.env.event()
        self.pes = []
        for pe in range(encoding.n_pe):
            codes, _, pointers = encoding.pe_image(pe)
            self.pes.append(ProcessingElement(codes=codes, pointers=pointers))
        self.sent = (0, 0)
        self.scanned = False
        self.columns_in_flight = 0
        self.stall = self.dead = self.cycles = self.scan_end = 0
        self.loading = None
        if stream:
            self.loading = Loading(
                env=self.env, encoding=encoding, stream=stream, product=product, moved=self.end_if_drained
            )

    @property
    def cycle(self) -> int:
        """The cycle that is running, from 1."""
        # SimPy counts ticks from 0, two a cycle; the cycle model counts cycles from 1
        return int(self.env.now) // 2 + 1

    def run(self) -> None:
        """Run until the scanner has passed the last row and the last entry has been written."""
        self.env.process(self.scanner())
        for pe in self.pes:
            for unit in (self.act_queue, self.ptr_read, self.spmat_read, self.arithm):
                self.env.process(unit(pe))
        if self.loading:
            self.loading.start()
        if self.log:
            self.env.process(self.narrator())
        self.env.run(until=self.finished)

    def tick(self) -> simpy.Timeout:
        """Half a cycle."""
        return self.env.timeout(1)

    def end_if_drained(self) -> None:
        """The layer ends in this cycle if nothing is left to scan, to write or to load."""
        if self.loading and not self.loading.done:
            return
        if self.scanned and self.columns_in_flight == 0 and not self.finished.triggered:
            self.cycles = self.cycle
            self.finished.succeed()

    def scanner(self) -> Process:
        """Leading-non-zero detection and broadcast: one non-zero a cycle, a dead cycle to step to the next row."""
        n_pe = self.encoding.n_pe
        waiting, takes = deque(self.product.positions), deque(self.product.takes)
        yield self.env.timeout(2)  # cycle 1 loads row 0
        for row in range(self.product.scan_rows):
            position = -1  # nothing handed out of this row yet
            while waiting and waiting[0] // n_pe == row:
                # All queues or none. The lengths are those of the last cycle's end: a slot freed in this very cycle is
                # seen as taken until the next.
                if any(len(pe.act_queue) >= self.usable_slots for pe in self.pes):
                    self.stall += 1
                else:
                    position, take = waiting.popleft(), takes.popleft()
                    for pe in self.pes:
                        pe.pushed = take
                    self.columns_in_flight += n_pe
                    self.sent = (self.cycle, position)
                yield self.tick()
                yield from self.close_cycle(self.is_last_step(waiting, row, position))
            # From the last lane the step to the next row is free. -1 % n_pe is that lane too, hence the second test.
            if position % n_pe != n_pe - 1 or position < 0:
                self.dead += 1
                yield self.tick()
                yield from self.close_cycle(row == self.product.scan_rows - 1)

    def is_last_step(self, waiting: deque[int], row: int, position: int) -> bool:
        """The scanner is through when the last activation sat in the last lane of the last row."""
        n_pe = self.encoding.n_pe
        return not waiting and row == self.product.scan_rows - 1 and position % n_pe == n_pe - 1

    def close_cycle(self, last: bool) -> Process:
        """Second half of a scanner's cycle."""
        if last:
            self.scanned, self.scan_end = True, self.cycle
            self.end_if_drained()
        yield self.tick()

    def act_queue(self, pe: ProcessingElement) -> Process:
        """The ring: what was pushed or popped in the first half is registered in the second."""
        while True:
            yield self.tick()
            if pe.popped:
                pe.act_queue.popleft()
            if pe.pushed is not None:
                pe.act_queue.append(pe.pushed)
            pe.popped, pe.pushed = False, None
            yield self.tick()

    def ptr_read(self, pe: ProcessingElement) -> Process:
        """Take the head of the queue and read both pointers; be busy a cycle for each entry, one if there is none.

        A column that is still on its way is waited for, with its activation at the head of the queue.
        """
        busy_cycles, take = 0, range(0)
        while True:
            # Counted down before it is looked at: a column of n entries taken in cycle t frees the unit in cycle t + n.
            busy_cycles = max(0, busy_cycles - 1)
            waits = self.loading and pe.act_queue and not self.loading.arrived.issuperset(pe.act_queue[0])
            if busy_cycles == 0 and waits:
                pe.load += 1
            elif busy_cycles == 0 and pe.act_queue:
                pe.popped = True
                take = pe.act_queue[0]
                # Both pointers come in one access, since neighbours lie in different banks. An empty column still takes
                # its cycle through the pipeline.
                pe.fetched = list(range(pe.pointers[take.start], pe.pointers[take.stop])) or [BUBBLE]
                busy_cycles = len(pe.fetched)
            yield self.tick()
            if busy_cycles == 1 and self.loading:
                self.loading.left(take)
            yield self.tick()

    def spmat_read(self, pe: ProcessingElement) -> Process:
        """Send one entry a cycle to the arithmetic unit; read an SRAM row only when it is not the one held."""
        while True:
            yield self.tick()
            if pe.column:
                entry = pe.column.popleft()
                if entry == BUBBLE:
                    pe.empty += 1
                else:
                    row = entry // self.entries_per_row
                    # the row stays in its buffer from one column to the next
                    pe.spmat_reads += row != pe.row_held
                    pe.row_held = row
                    pe.issue += 1
                    pe.padding += int(pe.codes[entry] == 0)
                pe.in_flight.append((self.cycle + PIPELINE_CYCLES, not pe.column))
                pe.free_after = self.cycle
            # Behind the issue above: what the pointer unit fetched in this cycle is sent from the next one on.
            pe.column.extend(pe.fetched)
            pe.fetched = []
            yield self.tick()

    def arithm(self, pe: ProcessingElement) -> Process:
        """Write each entry to its accumulator five cycles after it left the matrix read."""
        while True:
            yield self.tick()
            while pe.in_flight and pe.in_flight[0][0] <= self.cycle:
                _, last_of_column = pe.in_flight.popleft()
                self.columns_in_flight -= last_of_column
                self.end_if_drained()
            yield self.tick()

    def narrator(self) -> Process:
        """Say what each cycle looked like, as the registers stood when it began."""
        assert self.log is not None
        while True:
            queues = " ".join(f"{len(pe.act_queue):2d}" for pe in self.pes)
            issue = " ".join(f"{len(pe.column):2d}" for pe in self.pes)
            flight = " ".join(f"{len(pe.in_flight):2d}" for pe in self.pes)
            loaded = f"  loaded {len(self.loading.arrived):5d}" if self.loading else ""
            yield self.tick()
            sent = f"broadcast {self.sent[1]:5d}" if self.sent[0] == self.cycle else " " * 15
            line = f"cycle {self.cycle:5d}  {sent}  queues [{queues}]  to issue [{issue}]  in flight [{flight}]"
            self.log(line + loaded)
            yield self.tick()


def time_pass(
    encoding: Encoding,
    pattern: Pattern,
    spec: AcceleratorSpec,
    advanced: Callable[[int], None] = lambda _: None,
    log: Callable[[str], None] | None = None,
    stream: Stream | None = None,
    arrivals: Arrivals | Turns | None = None,
) -> PassTiming:
    """Time one pass, product by product.

    Parameters
    ----------
    log
        Called with a line a cycle.
    stream, arrivals
        How weights arrive, and which, as the fast engine takes them.
    """
    result = PassTiming.blank(pattern.products, encoding.n_pe)
    for s, product in enumerate(products(encoding, pattern, arrivals)):
        machine = Accelerator(encoding=encoding, product=product, spec=spec, log=log, stream=stream)
        machine.run()
        result.cycles[s] = machine.cycles
        result.stall[s] = machine.stall
        result.dead[s] = machine.dead
        result.reads[s] = sum(pe.spmat_reads for pe in machine.pes)
        result.entries[s] = sum(pe.issue for pe in machine.pes)
        result.padding[s] = sum(pe.padding for pe in machine.pes) + product.outside
        for p, pe in enumerate(machine.pes):
            result.issue[s, p] = pe.issue
            result.empty[s, p] = pe.empty
            result.load[s, p] = pe.load
            # Idle before its last slot a PE has starved; idle after it, it drains: what `activity_of` has left over.
            worked = pe.issue + pe.empty
            result.starved[s, p] = (pe.free_after if worked else machine.scan_end) - worked - pe.load
        if machine.loading:
            result.bus[s], result.dram_bits[s] = machine.loading.bus_cycles, machine.loading.bits
        advanced(1)
    return result
