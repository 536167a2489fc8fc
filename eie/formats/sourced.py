"""A physical number with its source: the row that energy tables and machine presets are made of.

Comes in: a table of a data file. Goes out: a frozen `Row`. Read by energy and baselines.
"""

from __future__ import annotations

from dataclasses import dataclass

HOW = ("published", "derived", "assumed")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number with where it comes from; ``how`` is published, derived or assumed."""

    name: str
    value: float
    unit: str
    source: str
    place: str
    how: str
