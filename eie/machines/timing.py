"""Calls timed in turns, so that what else the machine does meanwhile meets them all alike.

Comes in: calls. Goes out: every run of each of them, in seconds. Read by `measured`; what may be said of them is in
`noise`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

# So many let one go at either end of the interval of a median, see `noise.coverage`; odd, so that the median is a run.
RUNS = 13
# A timed run lasts at least so long, so that reading the clock does not count.
LEAST_S = 2e-3
# Calls this slow have fewer runs: the fewest from which an interval of a median can be known.
SLOW_S = 0.05
SLOW_RUNS = 8
# Where few runs may do, they are looked at after so many and, if that leaves something open, after `LAST_RUNS`.
# A median lies outside its interval in 0.8 % of cases at the one look and 0.2 % at the other: in less than 1 %.
FIRST_RUNS, LAST_RUNS = 8, 14
# A call that lasts so many times `least_s` when it first touches its memory lasts longer than that ever after.
COLD = 8


def timed(
    calls: Sequence[Callable[[], Any]], runs: int = RUNS, least_s: float | None = None, *, before: int = 0
) -> list[tuple[float, ...]]:
    """Return the seconds of each run of each call, each run repeating the call until the clock can tell.

    A turn runs all calls once, every other turn in reverse: the runs of any two calls in a turn are a pair, near to
    each other in time, and a machine that grows slower favours neither. The first ``before`` turns were run already.
    """
    least_s = LEAST_S if least_s is None else least_s
    repeats, rounds = [], []
    for call in calls:
        once = _warmed(call, least_s)
        repeats.append(max(1, round(least_s / max(once, 1e-7))))
        rounds.append(runs if once < SLOW_S else min(runs, SLOW_RUNS))
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(before, runs):
        order = range(len(calls))
        for i in reversed(order) if turn % 2 else order:
            if turn < rounds[i]:
                call = calls[i]
                start = time.perf_counter()
                for _ in range(repeats[i]):
                    call()
                seconds[i].append((time.perf_counter() - start) / repeats[i])
    return [tuple(samples) for samples in seconds]


def _warmed(call: Callable[[], Any], least_s: float) -> float:
    """Return the seconds that a call takes, roughly, once it has touched its memory and started its threads."""
    once = _lasted(call)
    # Of a call of many times the least a run may last nothing is asked but whether it is slow, which cold memory alone
    # can make it look.
    return once if COLD * least_s <= once < SLOW_S else _lasted(call)


def _lasted(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
