"""Many names in a sentence: the first few, and how many more there are.

Comes in: names or other texts, in the order in which they matter. Goes out: one text. Read by notes and errors, which
a model of a thousand layers must not make a thousand words long.
"""

from __future__ import annotations

from collections.abc import Iterable


def first_few(texts: Iterable[str], most: int, between: str = ", ") -> str:
    """Join the first ``most`` texts, and say how many are left out.

    Examples
    --------
    >>> first_few(["conv1", "conv2", "fc"], most=2)
    'conv1, conv2 and 1 more'
    >>> first_few(["conv1", "conv2"], most=2)
    'conv1, conv2'
    """
    every = list(texts)
    shown, left = between.join(every[:most]), len(every) - most
    return f"{shown} and {left} more" if left > 0 else shown
