"""Rates that a bus works by, exact: a cycle more or less is a cycle.

Comes in: numbers as they were written. Goes out: fractions. Read by `eie.spec.machine`.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache


# Cached: every layer of every call asks, and reading a number's digits takes longer than counting a small layer.
@cache
def decimal(value: float) -> Fraction:
    """Return the decimal number that was written: floats may be a hair off, and a full bus then takes a cycle more."""
    return Fraction(str(value))


# Cached, since every call asks, and fractions are slow.
@cache
def bytes_a_cycle(gb_per_s: float, clock_mhz: float) -> Fraction:
    """Return what a bus brings in a cycle."""
    # GB/s over MHz is 1000 bytes a cycle.
    return decimal(gb_per_s) * 1000 / decimal(clock_mhz)
