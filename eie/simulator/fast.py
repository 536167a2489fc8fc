"""The fast engine: cycles and counts from recurrences, O(activations x PEs), on threads.

Comes in: an `Encoding` and a `Pattern`. Goes out: `PassTiming`, the same record as the event engine's, put together
from what the queues decide and what they do not, so that a sweep can redo one without the other. The loops are in
`eie.kernels.timing`; here their number type is chosen, and the batch is spread over threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from eie.compiler.encode import Encoding
from eie.kernels import timing as kernels
from eie.simulator.records import PassTiming, Pattern, QueueTiming, Tally
from eie.spec import AcceleratorSpec

CHUNK = 256
SMALLEST_CHUNK = 16  # products; below, a thread costs more than it saves


def backlog_type(encoding: Encoding, act_queue_depth: int) -> Any:
    """Return a number type that holds any backlog the queue allows.

    When activation k is broadcast, activation k - (Q - 1) has left every queue, so what a PE still has before it is at
    most the slots of Q columns.
    """
    bound = encoding.largest_slot * min(act_queue_depth, len(encoding.slots))
    return np.uint8 if bound <= 0xFF else np.uint16 if bound <= 0xFFFF else np.int64


def time_pass(
    encoding: Encoding,
    pattern: Pattern,
    spec: AcceleratorSpec,
    threads: int | None = None,
    advanced: Callable[[int], None] = lambda _: None,
) -> PassTiming:
    """Time one pass.

    Parameters
    ----------
    threads
        Worker threads; the machine's cores by default. Counts do not depend on it.
    advanced
        Called with the number of products just done.
    """
    tally = tally_pass(encoding=encoding, pattern=pattern, entries_per_row=spec.entries_per_row, threads=threads)
    return PassTiming.of(
        queue_pass(
            encoding=encoding, pattern=pattern, act_queue_depth=spec.act_queue_depth, threads=threads, advanced=advanced
        ),
        tally,
    )


def queue_pass(
    encoding: Encoding,
    pattern: Pattern,
    act_queue_depth: int,
    threads: int | None = None,
    advanced: Callable[[int], None] = lambda _: None,
) -> QueueTiming:
    """Walk a pass through the queues; parameters as in `time_pass`."""
    timing = QueueTiming.blank(pattern.products, encoding.n_pe)
    number = backlog_type(encoding, act_queue_depth)
    slots = encoding.slots.reshape(-1)

    def run(start: int, stop: int) -> None:
        kernels.queue_samples(
            pattern.starts[start : stop + 1],
            pattern.positions,
            slots,
            encoding.inputs,
            encoding.scan_rows,
            encoding.n_pe,
            act_queue_depth,
            np.empty(encoding.slots.shape[1], number),
            timing.cycles[start:stop],
            timing.stall[start:stop],
            timing.dead[start:stop],
            timing.free[start:stop],
        )
        advanced(stop - start)

    _over_chunks(run, pattern.products, threads)
    return timing


def tally_pass(encoding: Encoding, pattern: Pattern, entries_per_row: int, threads: int | None = None) -> Tally:
    """Count what a pass reads and issues; parameters as in `time_pass`."""
    tally = Tally.blank(pattern.products, encoding.n_pe)
    table = encoding.sram_table(entries_per_row).reshape(-1)
    totals = encoding.column_totals(entries_per_row)

    def run(start: int, stop: int) -> None:
        kernels.tally_samples(
            pattern.starts[start : stop + 1],
            pattern.positions,
            table,
            totals,
            encoding.inputs,
            encoding.n_pe,
            np.empty(4 * encoding.slots.shape[1], table.dtype),
            tally.reads[start:stop],
            tally.entries[start:stop],
            tally.padding[start:stop],
            tally.issue[start:stop],
            tally.empty[start:stop],
        )

    _over_chunks(run, pattern.products, threads)
    return tally


def _over_chunks(run: Callable[[int, int], None], products: int, threads: int | None) -> None:
    """Call ``run(start, stop)`` for every chunk of a batch, on threads where there is more than one."""
    available = threads or os.cpu_count() or 1
    step = min(CHUNK, max(SMALLEST_CHUNK, -(-products // available)))
    starts = range(0, products, step)
    stops = [min(start + step, products) for start in starts]
    workers = min(available, len(starts))
    if workers <= 1:
        for start, stop in zip(starts, stops, strict=True):
            run(start, stop)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, starts, stops))
