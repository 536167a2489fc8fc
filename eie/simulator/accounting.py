"""Why PEs had nothing to do, pass by pass: counted only where it is asked for.

Comes in: what a pass was timed with. Goes out: an `Account`. Read by `stages`. The walk through the queues is done
again and notes when each activation went out; what PEs did in between follows from that (`eie.kernels.account`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eie.activity import Account
from eie.compiler.encode import Encoding
from eie.compiler.stream import Stream
from eie.kernels import account as kernels
from eie.kernels.timing import LANES
from eie.model.matrix import frozen
from eie.simulator.fast import CHUNK, LARGEST, backlog_type, queue_pass, slots_beside
from eie.simulator.records import Arrivals, Pattern, Schedule
from eie.simulator.spread import spread
from eie.simulator.strips import Ranges, Turns


def account_pass(
    encoding: Encoding,
    pattern: Pattern,
    act_queue_depth: int,
    *,
    threads: int | None = None,
    stream: Stream | None = None,
    arrivals: Arrivals | Turns | None = None,
) -> Account:
    """Account for one pass; parameters as of `eie.simulator.fast.time_pass`."""
    schedule = schedule_pass(encoding, pattern, act_queue_depth, threads=threads, stream=stream, arrivals=arrivals)
    account = Account.blank(pattern.products, encoding.pointers.shape[1])
    if stream is None and not isinstance(pattern, Ranges):
        _in_lanes(encoding, pattern, act_queue_depth, schedule=schedule, account=account, threads=threads)
    else:
        _in_walks(encoding, pattern, schedule=schedule, account=account, threads=threads)
    # PEs behind the rows wait as one: the last of those that are told apart.
    return Account(broadcast=encoding.for_all(account.broadcast), stall=encoding.for_all(account.stall))


def padding_pass(encoding: Encoding, pattern: Pattern) -> NDArray[np.int64]:
    """Count the padding entries that each PE issues in one pass; int64 (N, P)."""
    padding = np.zeros((pattern.products, encoding.pointers.shape[1]), np.int64)
    if encoding.padding.any():
        ahead, each = encoding.padding_before
        kernels.add_padding(pattern.starts, *columns_of(encoding, pattern), ahead, each, padding)
    return encoding.for_all(padding)


def schedule_pass(
    encoding: Encoding,
    pattern: Pattern,
    act_queue_depth: int,
    *,
    threads: int | None = None,
    stream: Stream | None = None,
    arrivals: Arrivals | Turns | None = None,
) -> Schedule:
    """Note when each activation of a pass is broadcast; parameters as of `eie.simulator.fast.time_pass`."""
    schedule = Schedule.of(pattern)
    queue_pass(
        encoding=encoding,
        pattern=pattern,
        act_queue_depth=act_queue_depth,
        threads=threads,
        stream=stream,
        arrivals=arrivals,
        schedule=schedule,
    )
    return schedule


def columns_of(encoding: Encoding, pattern: Pattern) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the columns that each activation takes: the first, and the one behind the last."""
    if isinstance(pattern, Ranges):
        return pattern.begins, pattern.ends
    begins = np.minimum(pattern.positions, encoding.inputs)
    return frozen(begins, np.int32), frozen(begins + 1, np.int32)


def _in_lanes(
    encoding: Encoding,
    pattern: Pattern,
    act_queue_depth: int,
    *,
    schedule: Schedule,
    account: Account,
    threads: int | None,
) -> None:
    number = backlog_type(encoding, act_queue_depth)
    counts, lanes = slots_beside(encoding, number), encoding.counts.shape[1]

    def run(start: int, stop: int) -> None:
        kernels.account_samples(
            pattern.starts[start : stop + 1],
            pattern.positions,
            counts,
            encoding.inputs,
            encoding.n_pe,
            LARGEST[np.dtype(number)],
            schedule.sent,
            np.empty(3 * lanes + LANES, number),
            account.broadcast[start:stop],
            account.stall[start:stop],
        )

    spread(run=run, count=pattern.products, largest=CHUNK, threads=threads)


def _in_walks(
    encoding: Encoding, pattern: Pattern, *, schedule: Schedule, account: Account, threads: int | None
) -> None:
    begins, ends = columns_of(encoding, pattern)

    def run(start: int, stop: int) -> None:
        kernels.account_walks(
            pattern.starts[start : stop + 1],
            pattern.positions,
            begins,
            ends,
            encoding.pointers,
            encoding.n_pe,
            schedule.sent,
            schedule.arrivals,
            account.broadcast[start:stop],
            account.stall[start:stop],
        )

    spread(run=run, count=pattern.products, largest=CHUNK, threads=threads)
