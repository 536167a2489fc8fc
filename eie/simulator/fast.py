"""The fast engine: cycles and counts from recurrences, O(activations x PEs), on threads.

Comes in: an `Encoding` and a `Pattern`. Goes out: `PassTiming`, the same record as the event engine's. The loops are
in `eie.kernels.timing`; here their number type is chosen, and the batch is spread over threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.kernels import timing as kernels
from eie.matrix import frozen
from eie.simulator.records import PassTiming, Pattern
from eie.spec import AcceleratorSpec

CHUNK = 256


def slots_for(encoding: Encoding, act_queue_depth: int) -> NDArray[Any]:
    """Return the encoding's slots (J * S,) in a type that holds any backlog the queue allows.

    When activation k is broadcast, activation k - (Q - 1) has left every queue, so what a PE still has before it is at
    most the slots of Q columns.
    """
    slots = encoding.slots
    bound = int(slots.max(initial=1)) * min(act_queue_depth, len(slots))
    dtype: Any = np.uint8 if bound <= 0xFF else np.uint16 if bound <= 0xFFFF else np.int64
    return frozen(slots, dtype).reshape(-1)


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
    result = PassTiming.blank(pattern.products, encoding.n_pe)
    slots = slots_for(encoding, spec.act_queue_depth)
    table = encoding.sram_table(spec.entries_per_row).reshape(-1)
    totals = encoding.column_totals(spec.entries_per_row)
    stride = encoding.slots.shape[1]

    def run(start: int) -> None:
        stop = min(start + CHUNK, pattern.products)
        kernels.time_samples(
            pattern.starts[start : stop + 1],
            pattern.positions,
            slots,
            table,
            totals,
            encoding.inputs,
            encoding.scan_rows,
            encoding.n_pe,
            spec.act_queue_depth,
            np.empty(stride, slots.dtype),
            np.empty(4 * stride, table.dtype),
            *(getattr(result, field.name)[start:stop] for field in fields(PassTiming)),
        )
        advanced(stop - start)

    starts = range(0, pattern.products, CHUNK)
    workers = min(threads or os.cpu_count() or 1, len(starts))
    if workers <= 1:
        for start in starts:
            run(start)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, starts))
    return result
