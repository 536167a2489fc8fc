"""Memory that is free and that the C library keeps for later, given back to the system.

Comes in: nothing. Goes out: nothing. Called between the steps of reading a large file: what a run in onnxruntime leaves
behind would otherwise lie beside all that is read next.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Return free memory to the system, where the C library is one that keeps it and can be asked."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    # glibc's; others, as musl, have none and keep less.
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
