"""A batch over threads: the one level of parallelism, since the kernels let go of the interpreter's lock.

Comes in: what to call and how many products there are. Read by the fast engine and the arithmetic. No number depends on
how a batch is cut.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from eie.kernels.datapath import LANES

SMALLEST_SLICE = 16  # products; below, a thread costs more than it saves
_here = threading.local()


@cache
def cores() -> int:
    """Processor cores of this machine; asking the system takes longer than timing a small layer."""
    return os.cpu_count() or 1


def spread(run: Callable[[int, int], None], count: int, largest: int, threads: int | None = None) -> None:
    """Call ``run(start, stop)`` over ``count`` products, at most ``largest`` at a time, on threads where it pays.

    Parameters
    ----------
    threads
        Worker threads; the machine's cores by default.
    """
    if count <= min(SMALLEST_SLICE, largest):
        run(0, count)
        return
    available = threads or cores()
    # whole blocks of the kernels that take several products at once
    step = min(largest, max(SMALLEST_SLICE, -(-count // (available * LANES)) * LANES))
    starts = range(0, count, step)
    stops = [min(start + step, count) for start in starts]
    workers = min(available, len(starts))
    # A worker that waited for workers of its own pool could wait for itself.
    if workers == 1 or getattr(_here, "works", False):
        for start, stop in zip(starts, stops, strict=True):
            run(start, stop)
        return
    list(_pool(workers).map(run, starts, stops))


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Return threads that stay: a study spreads some thousand batches, and starting threads for each took a second."""
    return ThreadPoolExecutor(workers, "eie", initializer=_begin)


def _begin() -> None:
    _here.works = True


if hasattr(os, "register_at_fork"):
    # A forked process has the pools without their threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
