"""The one style in which numbers are printed, by every table, note and claim.

Comes in: numbers. Goes out: text. Read by the renderers, and by answers that put numbers into sentences.

- a measured or computed number: four significant digits, thousands separated, no exponent from 0.0001 on;
- a factor is such a number and an ``x``;
- a count is whole; a share is in percent with one decimal, accuracies with two.
"""

from __future__ import annotations

from typing import SupportsFloat


def number(value: float) -> str:
    """Four significant digits, thousands separated; an exponent only below 0.0001."""
    text = f"{value:.4g}"
    # Rounding decides, not the value: 999.96 has to read 1,000 and not 1000.
    return f"{value:,.0f}" if abs(float(text)) >= 1000 else text


def count(value: float) -> str:
    """A whole number, thousands separated; means over a batch are rounded."""
    return f"{value:,.0f}"


def of(count: int, what: str) -> str:
    """How many of what: ``64 PEs``, ``1 PE``."""
    return f"{count} {what}{'s' if count != 1 else ''}"


def factor(value: float) -> str:
    """How many times: ``2.5x``."""
    return f"{number(value)}x"


def signed(value: float) -> str:
    """A change: a number with its sign, 0 without."""
    return f"{'+' * (value > 0)}{number(value)}" if value else "0"


def percent(share: SupportsFloat, digits: int = 1, sign: str = "") -> str:
    """A share (0 to 1) in percent without the sign of percent; ``sign="+"`` writes one before positive shares too."""
    return f"{100 * float(share):{sign},.{digits}f}"


def known(value: float | None, unit: str = "") -> str:
    """A number with its unit, or a dash where it is not known: for rows that state what others do not."""
    return "-" if value is None else number(value) + unit
