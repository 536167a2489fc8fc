"""What timings allow to be said: intervals of what was timed, and verdicts only where an interval allows one.

Comes in: samples, each run of one thing beside the same run of another. Goes out: an `Interval`, or a verdict: true,
false, or None where the samples do not tell. Read by studies and comparisons. Pure functions of the samples: no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

# Of a median that lies within its interval, whatever the noise is distributed like. A statement looks at a dozen of
# intervals and is refuted by one: at 95 % a busy machine refuted true ones.
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``; a number that is not measured is an interval of no width."""

    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Interval:
        """Return a number that has no noise."""
        return cls(value, value)

    def __str__(self) -> str:
        return f"{self.low:.2f} to {self.high:.2f}"


def coverage(runs: int, dropped: int) -> float:
    """Probability that a median lies between the samples left when ``dropped`` go at each end.

    Each run falls on either side of the median like a coin, so this holds for any distribution (the sign test).

    Examples
    --------
    >>> coverage(8, 0), coverage(13, 1)
    (0.9921875, 0.99658203125)
    """
    return float(1 - 2 * sum(comb(runs, k) for k in range(dropped + 1)) / 2**runs)


def interval(samples: Sequence[float]) -> Interval:
    """Return where the median is, `CONFIDENCE` sure: the range of the samples less as many at each end as that allows.

    Raises
    ------
    ValueError
        Without samples.

    Examples
    --------
    >>> interval([3, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 900])
    Interval(low=2, high=3)
    """
    ordered = sorted(samples)
    dropped = 0
    # One run in thirteen may be hit by whatever else the machine does, and says nothing.
    while 2 * (dropped + 1) < len(ordered) and coverage(len(ordered), dropped + 1) >= CONFIDENCE:
        dropped += 1
    return Interval(ordered[dropped], ordered[len(ordered) - 1 - dropped])


def ratios(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Return how many times faster ``after`` is, run by run: what slows both in a run cancels."""
    return [old / new for old, new in zip(before, after, strict=False) if new > 0]


def middle(samples: Sequence[float]) -> float:
    """Return the median."""
    return float(median(samples))


def spread(samples: Sequence[float]) -> float:
    """Return by how much the longest run was longer than the shortest, as a share of that."""
    least = min(samples)
    return max(samples) / least - 1 if least > 0 else 0.0


def all_at_most(intervals: Iterable[Interval], bound: float) -> bool | None:
    """Say whether every number is at most ``bound``; None where noise reaches over it.

    Examples
    --------
    >>> all_at_most([Interval(0.9, 1.1)], 1.15), all_at_most([Interval(1.2, 7.2)], 1.15)
    (True, False)
    >>> all_at_most([Interval(0.3, 7.2), Interval(1, 1)], 1.15)
    """
    known = list(intervals)
    if all(number.high <= bound for number in known):
        return True
    # One number that is surely beyond refutes, however noisy the others are.
    return False if any(number.low > bound for number in known) else None


def all_above(intervals: Iterable[Interval], bound: float) -> bool | None:
    """Say whether every number is more than ``bound``; None where noise reaches below it."""
    known = list(intervals)
    if all(number.low > bound for number in known):
        return True
    return False if any(number.high <= bound for number in known) else None


def most_over_least(intervals: Sequence[Interval]) -> Interval:
    """Return the largest number over the smallest.

    Examples
    --------
    >>> most_over_least([Interval(2, 4), Interval(1, 1)])
    Interval(low=2.0, high=4.0)
    """
    high = max(number.high for number in intervals) / min(number.low for number in intervals)
    # The largest is at least the largest low end, the smallest at most the smallest high end; never below 1.
    low = max(number.low for number in intervals) / min(number.high for number in intervals)
    return Interval(max(1.0, low), float(high))


def hull(intervals: Sequence[Interval]) -> Interval:
    """Return the interval that holds them all."""
    return Interval(min(number.low for number in intervals), max(number.high for number in intervals))
