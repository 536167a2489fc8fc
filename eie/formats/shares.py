"""Shares as people write them: ``0.5``, ``0.5x`` and ``50%`` are one number.

Comes in: text. Goes out: a float. Read wherever a share is asked for in words: densities, budgets, ways to prune.
"""

from __future__ import annotations


def share_of(text: str) -> float:
    """Read a share; bounds are the caller's.

    Raises
    ------
    ValueError
        If it is no number, perhaps with ``x`` or ``%`` behind it.
    """
    words = text.strip()
    if words.endswith("%"):
        return float(words[:-1]) / 100
    return float(words.removesuffix("x"))
